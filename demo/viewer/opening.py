"""A stack becomes a scan of the page."""

from __future__ import annotations

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
) -> OpenScan:
    """Put a stack on a page.

    Args:
        stack: what was opened.
        frames: which is to serve its frames.
        source: where it comes from, in words.
        modality: for files that do not say it themselves.
        reference: a test row's reference answer.
        checked: nobody's name is in the picture, whatever its kind; else, where text is likely,
            the reader is asked, and covers are proposed.
    """
    view = opening_view(stack)
    suspect = stack.text_likely and not checked
    return OpenScan(
        stack,
        frames.admit(stack),
        source,
        modality=stack.modality or modality,
        reference=reference,
        proposed=proposed_masks(stack, view) if suspect else (),
        decided=not suspect,
        view=view,
    )
