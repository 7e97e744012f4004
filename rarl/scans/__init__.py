"""Open scans: bytes to `Stack` and `Scan`, within limits and without identity."""

from rarl.limits import Limits
from rarl.scans.burned_in_text import proposed_masks, writing
from rarl.scans.decoded_file import LeftOut
from rarl.scans.decoder_pool import decoding_for
from rarl.scans.opening import (
    open_apart,
    open_scan,
    open_scan_file,
    open_series,
    open_series_files,
    open_stack,
    open_stack_file,
)
from rarl.scans.phi import Identifiers, identity_in_text
from rarl.scans.scan import Scan
from rarl.scans.series import Opened, Series
from rarl.scans.stack import Box, Stack, View
from rarl.scans.windowing import Window

__all__ = [
    "Box",
    "Identifiers",
    "LeftOut",
    "Limits",
    "Opened",
    "Scan",
    "Series",
    "Stack",
    "View",
    "Window",
    "decoding_for",
    "identity_in_text",
    "open_apart",
    "open_scan",
    "open_scan_file",
    "open_series",
    "open_series_files",
    "open_stack",
    "open_stack_file",
    "proposed_masks",
    "writing",
]
