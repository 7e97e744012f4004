"""Pack an export folder into one archive for download, and unpack an upload."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from rarl.errors import ReviewError

_MOST_FILES = 200_000
_MOST_BYTES = 4 << 30
_DAMAGED = "This is no export of the review store; choose the file that Export saved."


def pack(folder: Path, out: Path) -> None:
    """Put a folder into a zip; pictures and Parquet are compressed already, text is not."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))


def unpack(file: Path, folder: Path) -> Path:
    """What `import_from` takes: the folder in a zip, or the file itself.

    Args:
        file: as it was uploaded.
        folder: private, where a zip is unpacked.

    Raises:
        ReviewError: the zip is damaged, too large, or would write elsewhere.
    """
    if not zipfile.is_zipfile(file):
        return file
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if (
                len(entries) > _MOST_FILES
                or sum(entry.file_size for entry in entries) > _MOST_BYTES
            ):
                raise ReviewError(
                    "This export is too large for the page; use `python -m rarl review import`."
                )
            for entry in entries:
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
                    raise ReviewError(_DAMAGED)
            archive.extractall(folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise ReviewError(_DAMAGED) from None
    return folder
