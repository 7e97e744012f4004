"""The error message for a DICOM file that no installed decoder reads."""

from __future__ import annotations

from pydicom.pixels import get_decoder
from pydicom.uid import UID

_OPTIONAL = "pylibjpeg-libjpeg"


def missing_decoder(syntax: UID) -> str:
    """Name the compression, and the optional decoder where that would read it.

    Args:
        syntax: the transfer syntax of the file.

    >>> missing_decoder(UID("1.2.840.10008.1.2.4.100"))
    'There is no decoder for MPEG2 Main Profile / Main Level here; export the file uncompressed.'
    """
    try:
        missing = get_decoder(syntax).missing_dependencies
    except NotImplementedError:
        missing = []
    # PS3.5 A.4 names the compression; an unknown UID has its digits as its name.
    name = syntax.name if syntax.name != str(syntax) else "this kind of compression"
    if any(_OPTIONAL in requirement for requirement in missing):
        return (
            f"{name} needs an optional decoder that is not installed (GPL-3.0): "
            "pip install 'rarl[libjpeg]', or export the file uncompressed."
        )
    return f"There is no decoder for {name} here; export the file uncompressed."
