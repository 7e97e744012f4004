"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name", ["agreement", "bootstrap", "bradley_terry", "calibration", "strata", "two_way"]
)
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(f"rarl.stats.{name}"))
    assert result.attempted > 0 and result.failed == 0
