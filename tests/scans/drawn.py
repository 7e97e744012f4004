"""DICOM files made for a test."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian


def drawn(values: np.ndarray, **header: object) -> FileDataset:
    """A CT of these values (rows x columns, 16 bits)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def series(
    volume: np.ndarray, right: tuple[float, ...], down: tuple[float, ...], step: float = 1.0
) -> list[bytes]:
    """A CT series of a volume (slices, rows, columns), 1 mm pixels, along the normal.

    Slices are numbered against their position, so that sorting by number would turn them round.
    """
    normal = np.cross(right, down)
    files = []
    for place, values in enumerate(volume):
        dataset = drawn(
            values,
            SeriesInstanceUID="1.2.3.4",
            StudyInstanceUID="1.2.3",
            InstanceNumber=len(volume) - place,
            PixelSpacing=[1, 1],
            ImageOrientationPatient=[*right, *down],
            ImagePositionPatient=[round(float(part), 6) for part in normal * place * step],
            RescaleIntercept=-1024,
            RescaleSlope=1,
        )
        files.append(saved(dataset))
    return files
