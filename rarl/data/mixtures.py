"""Which sets shape the shipped base. Their order is the order of its training rows."""

from __future__ import annotations

BASE_SETS = (
    "vqa_rad",
    "vqa_rad_basics",
    "brain_tumor_mri",
    "brain_tumor_mri_more",
    "busi_breast_us",
    "bccd_blood",
    "chest_pneumonia",
    "knee_oa",
    "pbc_blood_cells",
    "head_ct_hemorrhage",
    "hc18_fetal_head",
    "dsbowl_nuclei",
)
"""What the base is trained on, in the order in which the rows are put together."""

SAME_PICTURES = frozenset({"vqa_rad_basics", "brain_tumor_mri_more"})
"""Sets whose pictures are of the kinds of another set: they add questions, no kind of picture."""

FAMILIAR_SETS = tuple(name for name in BASE_SETS if name not in SAME_PICTURES)
"""The sets by whose pictures familiarity is measured, one for each kind of picture."""
