"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from rarl.records import _base
from rarl.review import reader_metrics, roles, studies, taxonomy
from rarl.review.transfer import table

MODULES = [_base, reader_metrics, roles, studies, table, taxonomy]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
