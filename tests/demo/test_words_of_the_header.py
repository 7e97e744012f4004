"""The question about names: not about clinical words, and once for each scan."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn, saved
from opened import session_with

from demo.services.identity import doubts, keep
from demo.session import OpenScan, Session
from demo.viewer import FrameServer, open_scan
from rarl.scans import open_stack


def scan_of_patient(name: str) -> OpenScan:
    dataset = drawn(np.arange(400, dtype=np.uint16).reshape(20, 20), PatientName=name)
    dataset.AdmittingDiagnosesDescription = "stroke perfusion"
    return open_scan(open_stack([saved(dataset)]), FrameServer(), "Your scan")


@pytest.fixture
def session() -> Session:
    return session_with(scan_of_patient("Stroke^Berta"))


@pytest.mark.parametrize(
    "question",
    ["Is there a stroke?", "Stroke?", "Any strokes on perfusion?", "STROKE PROTOCOL: stroke?",
     "Is there a stroke perfusion deficit?"],
)  # fmt: skip
def test_clinical_words_are_left_in_peace(session: Session, question: str) -> None:
    assert doubts(question, session) == ()


@pytest.mark.parametrize("question", ["Is Stroke better?", "Does Berta have a stroke?"])
def test_names_are_still_asked_about(session: Session, question: str) -> None:
    (sentence,) = doubts(question, session)
    assert "occurs in the scan's header" in sentence


def test_a_word_is_asked_about_once_for_each_scan(session: Session) -> None:
    session.doubted = "Is the berta sign there?"
    assert doubts(session.doubted, session)
    keep(session)
    assert doubts("Where is the berta sign?", session) == ()
    assert doubts("Is it from 3 March 2021?", session)
    session.show(scan_of_patient("Berta^Berta"))
    assert doubts("Where is the berta sign?", session)
