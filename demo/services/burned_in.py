"""Detect text that is burned into a picture before the picture is stored, and ask a person."""

from __future__ import annotations

from demo.session import OpenScan, Session
from rarl.review import CaseSnapshot
from rarl.scans import writing


def undecided(session: Session) -> tuple[OpenScan, ...]:
    """The open scans with writing on the picture in view that nobody has decided on.

    Every kind of scan is looked at, and the picture as it is asked about: with its covers, at its
    slice and window.
    """
    return tuple(
        scan
        for scan in session.scans
        if not scan.asked_about and _key(scan) not in session.kept and _has_writing(scan)
    )


def picture_doubts(session: Session) -> tuple[tuple[str, ...], str]:
    """Sentences on the pictures that a person has to decide on, and what `keep` shall remember.

    Returns:
        (sentences, key of the first scan); ((), "") where there is nothing to decide.
    """
    scans = undecided(session)
    if not scans:
        return (), ""
    several = len(session.scans) > 1
    which = f" of the {scans[0].role} scan" if several else ""
    sentence = (
        f"There is writing on the picture{which}. Cover it with Cover (C) where it names the "
        "patient, and ask again; or keep it as it is."
    )
    return (sentence,), _key(scans[0])


def without_written(case: CaseSnapshot) -> CaseSnapshot:
    """The case with only the hash of each picture that has writing on it.

    For pictures that nobody has been asked about, such as those of a test set.
    """
    pictures = tuple(
        picture.model_copy(update={"png": None})
        if picture.png is not None and writing(picture.image())
        else picture
        for picture in case.pictures
    )
    return case.model_copy(update={"pictures": pictures})


def _key(scan: OpenScan) -> str:
    return f"writing {scan.token} {scan.view.plane}"


def _has_writing(scan: OpenScan) -> bool:
    seen = (scan.view, scan.masks)
    if seen not in scan.searched:
        scan.searched.clear()  # the pictures of the past are not asked about again
        scan.searched[seen] = bool(writing(scan.shown().image))
    return scan.searched[seen]
