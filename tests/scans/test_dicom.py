"""DICOM: presentation, what is kept of the header, what is refused."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import drawn, saved
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
)

from rarl.errors import ScanError
from rarl.scans import Limits, open_scan, open_scan_file
from rarl.scans.stack import BAD_WINDOW, NO_WINDOW

Find = Callable[[str], Path]
PATIENT = "MUSTERMANN"


def shown(dataset: Dataset) -> np.ndarray:
    return np.asarray(open_scan(saved(dataset)).image).astype(int)


RAMP = np.arange(0, 4096, 16, dtype=np.uint16).repeat(16).reshape(64, 64)


def test_chest_film_is_presented_with_air_dark(sample: Find) -> None:
    path = sample("RG1_J2KI.dcm")
    assert dcmread(path, stop_before_pixels=True).PhotometricInterpretation == "MONOCHROME1"
    scan = open_scan_file(path)
    assert (scan.format, scan.modality, scan.image.mode) == ("dicom", "CR", "L")
    assert scan.image.size == (1841, 1955)
    picture = np.asarray(scan.image)
    lung, liver = picture[500:700, 350:500].mean(), picture[1600:1750, 350:600].mean()
    beside_the_neck = picture[20:80, 20:120].mean()
    assert lung < liver - 60 and beside_the_neck < liver - 100
    assert scan.attributes["ViewPosition"] == "PA"


def test_air_beside_a_leg_is_black(sample: Find) -> None:
    picture = np.asarray(open_scan_file(sample("RG3_J2KR.dcm")).image)
    assert picture[300:500, 470:530].mean() < 30


@pytest.mark.parametrize(
    ("name", "modality", "mode", "size"),
    [
        ("693_J2KR.dcm", "CT", "L", (512, 512)),
        ("JPEG-LL.dcm", "NM", "L", (256, 1024)),
        ("JPGExtended.dcm", "NM", "L", (256, 1024)),
        ("HTJ2K_08_RGB.dcm", None, "RGB", (640, 480)),
        ("JLSN_RGB_ILV0.dcm", None, "RGB", (256, 256)),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", "US", "L", (1024, 768)),
        ("MR-SIEMENS-DICOM-WithOverlays.dcm", "MR", "L", (484, 484)),
        ("MR_small_bigendian.dcm", "MR", "L", (64, 64)),
        ("US1_J2KI.dcm", "US", "RGB", (640, 480)),
        ("gdcm-US-ALOKA-16.dcm", "US", "RGB", (640, 480)),
        ("emri_small_jpeg_ls_lossless.dcm", "MR", "L", (64, 64)),
        ("explicit_VR-UN.dcm", "CT", "L", (512, 512)),
        ("image_dfl.dcm", "OT", "L", (512, 512)),
    ],
)
def test_samples_open(
    sample: Find, name: str, modality: str | None, mode: str, size: tuple[int, int]
) -> None:
    scan = open_scan_file(sample(name))
    assert (scan.format, scan.modality, scan.image.mode) == ("dicom", modality, mode)
    assert scan.image.size == size
    low, high = scan.image.convert("L").getextrema()
    assert high - low > 200


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MR_truncated.dcm", "cut short: it holds 8130 of 8192 bytes"),
        ("badVR.dcm", "NumberOfFrames is missing or no number"),
        ("liver_rle.dcm", "packs 1-bit pixels with RLE"),
    ],
)
def test_broken_samples_are_refused_by_what_is_wrong(sample: Find, name: str, says: str) -> None:
    with pytest.raises(ScanError, match=says):
        open_scan_file(sample(name))


def test_encodings_of_one_picture_agree(packaged: Find) -> None:
    pictures = [
        np.asarray(open_scan_file(packaged(name)).image)
        for name in (
            "MR_small.dcm",
            "MR_small_bigendian.dcm",
            "MR_small_implicit.dcm",
            "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
        )
    ]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_rle_32bit.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colours_are_right(packaged: Find, name: str) -> None:
    image = open_scan_file(packaged(name)).image
    for row, colour in ((5, (255, 0, 0)), (25, (0, 255, 0)), (45, (0, 0, 255)), (95, (255,) * 3)):
        assert np.allclose(image.getpixel((50, row)), colour, atol=6), row


def test_palette(packaged: Find) -> None:
    image = open_scan_file(packaged("examples_palette.dcm")).image
    red, _, blue = np.asarray(image)[5:25, 300:800].reshape(-1, 3).mean(0)
    assert image.mode == "RGB" and blue > red + 30  # the blue title bar


def test_first_frame_with_a_warning(packaged: Find) -> None:
    scan = open_scan_file(packaged("examples_ybr_color.dcm"))
    assert scan.image.size == (320, 240)
    assert "The file has 30 frames: only the first is shown." in scan.warnings


def test_window_of_the_file() -> None:
    picture = shown(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))
    values = RAMP.astype(int)
    assert (picture[values <= 1536] == 0).all() and (picture[values >= 2560] == 255).all()
    assert abs(picture[values == 2048][0] - 128) <= 1
    assert open_scan(saved(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))).warnings == ()


def test_rescale_comes_before_the_window() -> None:
    plain = shown(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))
    rescaled = shown(
        drawn(
            RAMP,
            RescaleSlope=2,
            RescaleIntercept=-1024,
            WindowCenter=2048 * 2 - 1024,
            WindowWidth=2048,
        )
    )
    assert np.abs(plain - rescaled).max() <= 1


def test_first_of_several_windows() -> None:
    one = shown(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))
    several = shown(drawn(RAMP, WindowCenter=[2048, 100], WindowWidth=[1024, 10]))
    assert np.array_equal(one, several)


def test_monochrome1_is_the_inverse() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 1024}
    inverse = shown(drawn(RAMP, PhotometricInterpretation="MONOCHROME1", **window))
    assert np.array_equal(inverse, 255 - shown(drawn(RAMP, **window)))


def test_signed_values() -> None:
    values = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    picture = shown(drawn(values, WindowCenter=0, WindowWidth=1024))
    assert picture[0, 0] == 0 and picture[-1, -1] == 255


def test_no_window_is_said() -> None:
    scan = open_scan(saved(drawn(RAMP)))
    assert scan.warnings == (NO_WINDOW,)
    assert scan.image.getextrema() == (0, 255)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": -90_000, "WindowWidth": 10},
        {"WindowCenter": 2048, "WindowWidth": 100, "VOILUTFunction": "MAGIC"},
    ],
)
def test_unusable_window_is_said(window: dict[str, object]) -> None:
    scan = open_scan(saved(drawn(RAMP, **window)))
    assert scan.warnings == (BAD_WINDOW,)
    assert scan.image.getextrema() == (0, 255)


def test_voi_lut_with_eight_bit_entries() -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 8]
    lut.LUTData = (np.arange(4096, dtype=np.uint16) // 16).tobytes()
    dataset = drawn(RAMP)
    dataset.VOILUTSequence = Sequence([lut])
    assert np.array_equal(shown(dataset), RAMP.astype(int) // 16)


def test_padding_does_not_set_the_contrast() -> None:
    values = RAMP.copy().astype(np.int16)
    values[:20] = -32768
    with_padding = open_scan(saved(drawn(values, PixelPaddingValue=-32768)))
    without = open_scan(saved(drawn(values)))
    assert np.asarray(with_padding.image)[20:].std() > 3 * np.asarray(without.image)[20:].std()


def test_window_in_functional_groups() -> None:
    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth = 2048, 1024
    group = Dataset()
    group.FrameVOILUTSequence = Sequence([voi])
    dataset = drawn(np.stack([RAMP, RAMP]), NumberOfFrames=2)
    dataset.PerFrameFunctionalGroupsSequence = Sequence([group, group])
    expected = shown(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))
    assert np.array_equal(shown(dataset), expected)


def test_without_preamble() -> None:
    data = saved(drawn(RAMP, WindowCenter=2048, WindowWidth=1024))
    assert data[128:132] == b"DICM"
    scan = open_scan(data[132:])
    assert np.array_equal(scan.image, open_scan(data).image)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_nothing_of_the_patient_is_kept() -> None:
    dataset = drawn(
        RAMP,
        PatientName=PATIENT,
        PatientID=PATIENT,
        PatientBirthDate="19331224",
        StudyDate="20240229",
        AccessionNumber=PATIENT,
        InstitutionName=PATIENT,
        ReferringPhysicianName=PATIENT,
        StudyDescription=PATIENT,
        ImageComments=PATIENT,
        StudyInstanceUID="1.2.840.99999.1",
        # Names in fields that are kept:
        BodyPartExamined="Mustermann, Eva",
        ViewPosition="eva " + PATIENT,
        Laterality=PATIENT,
        PatientSex=PATIENT,
        ManufacturerModelName="Model\r\n" + PATIENT,
        PatientAge="091Y",
        WindowCenter=2048,
        WindowWidth=1024,
    )
    scan = open_scan(saved(dataset))
    kept_text = repr((scan.attributes, scan.warnings, scan.modality, scan.image.info)).upper()
    for secret in (PATIENT, "EVA", "1933", "2024", "1.2.840", "1.2.3"):
        assert secret not in kept_text
    assert scan.attributes == {
        "Modality": "CT",
        "PatientAge": "90",
        "WindowCenter": "2048",
        "WindowWidth": "1024",
    }


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("age", "years"), [("047Y", "47"), ("018M", "2"), ("010D", "0"), ("104Y", "90"), ("47", None)]
)
def test_age_in_years(age: str, years: str | None) -> None:
    assert open_scan(saved(drawn(RAMP, PatientAge=age))).attributes.get("PatientAge") == years


def test_attributes_of_a_real_file(packaged: Find) -> None:
    attributes = open_scan_file(packaged("examples_overlay.dcm")).attributes
    assert attributes["BodyPartExamined"] == "ABDOMEN"
    assert attributes["PixelSpacing"] == "0.72314 x 0.72314"
    assert attributes["WindowCenter"] == "450, 200"
    assert set(attributes) <= {
        "Modality",
        "BodyPartExamined",
        "PixelSpacing",
        "WindowCenter",
        "WindowWidth",
        "ManufacturerModelName",
        "PatientAge",
        "PatientSex",
    }


def test_burned_in_text_is_said(packaged: Find) -> None:
    for name in ("examples_rgb_color.dcm", "SC_rgb_rle.dcm"):  # ultrasound, secondary capture
        assert "text burned in" in open_scan_file(packaged(name)).warnings[0]
    warnings = open_scan(saved(drawn(RAMP, BurnedInAnnotation="YES"))).warnings
    assert warnings[0].startswith("The file says that text is burned into the picture")


def test_size_is_checked_before_decoding() -> None:
    dataset = drawn(RAMP, Rows=20_000, Columns=20_000)
    with pytest.raises(ScanError, match="more than 100 megapixels"):
        open_scan(saved(dataset))
    with pytest.raises(ScanError, match="There are more than 5000 frames"):
        open_scan(saved(drawn(RAMP, NumberOfFrames=900_000)))
    with pytest.raises(ScanError, match="megapixels in all frames together"):
        open_scan(saved(drawn(RAMP, Rows=9000, Columns=9000, NumberOfFrames=9)))
    with pytest.raises(ScanError, match="says that it has no frames"):
        open_scan(saved(drawn(RAMP, NumberOfFrames=0)))
    with pytest.raises(ScanError, match="smaller than 8 x 8"):
        open_scan(saved(drawn(RAMP[:7])))


def test_a_codestream_larger_than_its_header_is_refused(packaged: Find) -> None:
    dataset = dcmread(packaged("MR_small_jp2klossless.dcm"))
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    data = saved(dataset)
    start = data.index(b"\xff\x4f\xff\x51")
    width = start + 8
    assert data[width : width + 4] == (64).to_bytes(4, "big")
    bomb = data[:width] + (60_000).to_bytes(4, "big") * 2 + data[width + 8 :]
    with pytest.raises(ScanError, match="damaged"):
        open_scan(bomb)


def test_a_deflated_bomb_is_refused() -> None:
    dataset = drawn(np.zeros((64, 64), np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = saved(dataset)
    assert open_scan(data).image.size == (64, 64)
    with pytest.raises(ScanError, match="unpacks to more than"):
        open_scan(data, Limits(series_bytes=5000))
    start = 144 + int.from_bytes(data[140:144], "little")
    squeeze = zlib.compressobj(wbits=-15)
    bomb = data[:start] + squeeze.compress(bytes(70_000_000)) + squeeze.flush()
    with pytest.raises(ScanError, match="unpacks to more than 200 times its size"):
        open_scan(bomb)


def test_no_decoder() -> None:
    dataset = drawn(RAMP)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(ScanError, match="no decoder"):
        open_scan(saved(dataset))


@pytest.mark.parametrize("name", ["reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_no_picture(packaged: Find, name: str) -> None:
    with pytest.raises(ScanError, match="holds no complete picture"):
        open_scan_file(packaged(name))


def test_index_of_a_disc(packaged: Find) -> None:
    with pytest.raises(ScanError, match="DICOMDIR"):
        open_scan_file(packaged("dicomdirtests") / "DICOMDIR")
