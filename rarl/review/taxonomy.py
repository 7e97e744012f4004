"""What may be wrong with an answer, and how much it matters."""

from __future__ import annotations

CATEGORIES: tuple[tuple[str, str], ...] = (
    ("false-finding", "Finding that is not there"),
    ("missed-finding", "Missed finding"),
    ("wrong-location", "Wrong location or side"),
    ("wrong-severity", "Wrong severity"),
    ("wrong-modality-or-anatomy", "Wrong modality or anatomy"),
    ("unsupported-reasoning", "Reasoning not supported by the picture"),
    ("contradiction", "Reasoning contradicts the answer"),
    ("unsafe-advice", "Unsafe advice"),
    ("style", "Style or wording"),
    ("other", "Other"),
)
"""(key, label) of each kind of error, in the order in which they are offered."""

SEVERITIES: tuple[tuple[str, str], ...] = (
    ("none", "No consequence for the patient"),
    ("minor", "Would be noticed and put right, without harm"),
    ("major", "Could delay or change the treatment"),
    ("critical", "Could harm a patient"),
)
"""(key, label) of each severity by clinical consequence, mildest first."""

COMMENT_LIMIT = 4000
"""Longest comment, in characters."""
