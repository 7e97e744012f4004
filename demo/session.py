"""What one visitor's page holds, in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from rarl.inference.engine import Answer, Arm, Question
from rarl.scans.scan import Scan


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange as it stands on the page, ready to be frozen into a case by a flag.

    Attributes:
        scan: the scan that was asked about.
        question: as it was handed to the engine.
        answers: one per arm, in the order of the columns.
        arms: the arms that answer, with their revisions.
        model_name: what the engine says it runs.
    """

    scan: Scan
    question: Question
    answers: tuple[Answer, ...]
    arms: tuple[Arm, ...]
    model_name: str


@dataclass
class Session:
    """The state behind one open page. Handlers change it in place.

    Attributes:
        scan: the scan on the left, or None.
        source: where it came from in words ("Your scan", "Example: brain MR"); no file names.
        modality: of the scan, for the suggested questions.
        reference: a test row's reference answer, shown only when asked for.
        asked: the exchange on the right, once there is one.
        case_id: its case in the review store, once something was flagged.
        flagging: the arm whose flag panel is open.
        stop: set to end the running answers.
    """

    scan: Scan | None = None
    source: str = ""
    modality: str | None = None
    reference: str | None = None
    asked: Asked | None = None
    case_id: str | None = None
    flagging: str | None = None
    stop: Event | None = field(default=None, repr=False)

    def show(
        self, scan: Scan, source: str, reference: str | None = None, modality: str | None = None
    ) -> None:
        """Put another scan on the page. What was said of the last one goes with it.

        Args:
            scan: the scan.
            source: see the attribute.
            reference: see the attribute.
            modality: for files that do not say it themselves.
        """
        if self.stop is not None:
            self.stop.set()
        self.scan, self.source, self.reference = scan, source, reference
        self.modality = scan.modality or modality
        self.asked = self.case_id = self.flagging = None
