"""What a report refers to: the study's own UIDs where the site keeps them, else generated ones.

Opening a file removes its identity (see `rarl.scans.phi`), the UIDs included. `RARL_KEEP_UIDS`
keeps those of study, series and image with a case.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5

from pydicom.config import IGNORE
from pydicom.uid import UID, SecondaryCaptureImageStorage

from rarl.records import CaseSnapshot
from rarl.scans.header_allowlist import UID_KEYWORDS
from rarl.settings import read_settings

GENERATED = (
    "The UIDs in this document were generated and lead to no study: RARL removes those of a file "
    "when it is opened."
)
KEPT = "The Study Instance UID is that of the study; the patient is not named here."
ANONYMOUS = "De-identified patient"


def uid_of(*words: str) -> UID:
    """A UID that is the same for the same words (PS3.5 B.2: 2.25. and a UUID's number)."""
    return UID(f"2.25.{uuid5(NAMESPACE_OID, chr(10).join(('rarl', *words))).int}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The study, series and image of a case.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID of the image.
        image: SOP Instance UID of the image.
        image_class: its SOP Class UID.
        patient: pseudonym of the patient: one for each case.
        keeps_study: whether the study is that of the file.
        keeps_image: whether the series and the image are those of the file. Otherwise the image is
            the case's first picture, as a secondary capture.
    """

    study: str
    series: str
    image: str
    image_class: str
    patient: str
    keeps_study: bool
    keeps_image: bool

    @property
    def sentence(self) -> str:
        """Where the UIDs come from."""
        return KEPT if self.keeps_study else GENERATED


def identity_of(case: CaseSnapshot) -> Identity:
    """What a report on a case refers to."""
    kept = {
        name: case.attributes[name]
        for name in UID_KEYWORDS
        if read_settings().keep_uids and UID(case.attributes.get(name, ""), IGNORE).is_valid
    }
    keeps_image = len(kept) == len(UID_KEYWORDS)
    keeps_study = "StudyInstanceUID" in kept
    image = kept if keeps_image else {}
    return Identity(
        study=kept.get("StudyInstanceUID") or uid_of("study", case.id),
        series=image.get("SeriesInstanceUID") or uid_of("series", case.id),
        image=image.get("SOPInstanceUID") or uid_of("image", case.id),
        image_class=image.get("SOPClassUID") or SecondaryCaptureImageStorage,
        patient=f"RARL-{case.id[:12]}",
        keeps_study=keeps_study,
        keeps_image=keeps_image,
    )
