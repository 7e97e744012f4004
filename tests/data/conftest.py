"""The local copies of the data sets, where there are any."""

from pathlib import Path

import pytest

from rarl.data.example import Example
from rarl.data.root import data_root
from rarl.data.sets import LOCAL, at_hand, load_set


@pytest.fixture(scope="session")
def local_root() -> Path:
    root = data_root()
    if root is None or set(LOCAL) - set(at_hand()):
        pytest.skip("needs the data sets: set RARL_DATA to the folder that holds them")
    return root


@pytest.fixture(scope="session")
def local_sets(local_root: Path) -> dict[str, list[Example]]:
    return {name: load_set(name) for name in LOCAL}
