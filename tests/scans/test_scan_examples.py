"""The examples in the docstrings of scans hold."""

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

import rarl.scans

MODULES = [f"rarl.scans.{module.name}" for module in iter_modules(rarl.scans.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0
