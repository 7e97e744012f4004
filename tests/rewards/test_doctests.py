"""The examples in the rewards' docstrings hold."""

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

import rarl.rewards

MODULES = [f"rarl.rewards.{module.name}" for module in iter_modules(rarl.rewards.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0
