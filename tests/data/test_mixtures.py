"""The sets of the shipped base: their order is the order of its training rows."""

from __future__ import annotations

from rarl.data.mixtures import BASE_SETS, FAMILIAR_SETS
from rarl.data.sets import NAMES


def test_the_order_of_the_training_rows_stays() -> None:
    assert BASE_SETS == (
        "vqa_rad", "vqa_rad_basics", "brain_tumor_mri", "brain_tumor_mri_more", "busi_breast_us",
        "bccd_blood", "chest_pneumonia", "knee_oa", "pbc_blood_cells", "head_ct_hemorrhage",
        "hc18_fetal_head", "dsbowl_nuclei",
    )  # fmt: skip
    assert set(BASE_SETS) <= set(NAMES)


def test_familiarity_is_fitted_to_the_same_sets_in_the_same_order() -> None:
    assert FAMILIAR_SETS == (
        "vqa_rad", "brain_tumor_mri", "busi_breast_us", "bccd_blood", "chest_pneumonia", "knee_oa",
        "pbc_blood_cells", "head_ct_hemorrhage", "hc18_fetal_head", "dsbowl_nuclei",
    )  # fmt: skip
