"""Real files: the shared samples where they are in reach, and pydicom's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pydicom.data
import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sample() -> Callable[[str], Path]:
    """Path of a shared DICOM or NIfTI sample; skips where the data are not there."""
    folder = Path(os.environ.get("RARL_DATA", _ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / "dicom_nifti_samples" / name
        if not path.is_file():
            pytest.skip("the shared DICOM samples are not in reach (set RARL_DATA)")
        return path

    return find


@pytest.fixture
def packaged() -> Callable[[str], Path]:
    """Path of a file that pydicom carries in its package."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return lambda name: folder / name
