"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from rarl.review import export, outcomes, roles, studies


@pytest.mark.parametrize("module", [export, outcomes, roles, studies])
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
