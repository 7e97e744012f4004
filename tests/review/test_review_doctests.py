"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from rarl.records import _base
from rarl.review import (
    conditions,
    privacy,
    reader_metrics,
    roles,
    taxonomy,
    wrong_advice,
)
from rarl.review.studies import assignment
from rarl.review.transfer import table

MODULES = [
    _base,
    assignment,
    conditions,
    privacy,
    reader_metrics,
    roles,
    table,
    taxonomy,
    wrong_advice,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
