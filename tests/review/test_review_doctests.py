"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from rarl.review import outcomes, roles, studies
from rarl.review.transfer import table


@pytest.mark.parametrize("module", [table, outcomes, roles, studies])
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
