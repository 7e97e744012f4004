"""Bytes in, `Scan` out: PNG, JPEG and DICOM, windowed, within limits and without identity."""

from rarl.scans.limits import Limits
from rarl.scans.opening import open_scan, open_scan_file
from rarl.scans.scan import Scan

__all__ = ["Limits", "Scan", "open_scan", "open_scan_file"]
