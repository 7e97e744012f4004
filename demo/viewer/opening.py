"""Turn a stack into an open scan of the page."""

from __future__ import annotations

from collections.abc import Sequence

from demo.services.fair_queue import current_session
from demo.services.volumes import Budget, Volume
from demo.session import OpenScan
from demo.viewer.frames import FrameServer
from demo.viewer.spec import opening_view
from rarl.scans import Stack, proposed_masks


def open_scan(
    stack: Stack,
    frames: FrameServer,
    source: str,
    *,
    modality: str | None = None,
    reference: str | None = None,
    checked: bool = False,
    files: Sequence[bytes] = (),
    budget: Budget | None = None,
    volume: Volume | None = None,
) -> OpenScan:
    """Put a stack on a page.

    Args:
        stack: what was opened.
        frames: which is to serve its frames.
        source: where it comes from, in words.
        modality: for files that do not say it themselves.
        reference: a test row's reference answer.
        checked: nobody's name is in the picture; else the reader is asked where a DICOM file's kind
            often has text or where text is found, and covers are proposed.
        files: what the stack was opened from, by which its pixels can make room for others.
        budget: of the app's memory for pixels.
        volume: where the stack is held already.
    """
    view = opening_view(stack)
    proposed = () if checked else proposed_masks(stack, view)
    # A screenshot is colour and so are most photographs and exports: there the detector decides.
    by_kind = stack.text_likely and stack.format == "dicom"
    suspect = not checked and (by_kind or bool(proposed))
    volume = volume or Volume(stack, files, budget, current_session())
    return OpenScan(
        volume,
        frames.admit(volume),
        source,
        modality=stack.modality or modality,
        reference=reference,
        proposed=proposed,
        decided=not suspect,
        asked_about=checked or suspect,
        view=view,
    )
