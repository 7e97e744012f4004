# ruff: noqa: RUF001 - letters of many alphabets
"""No identity survives opening, and typed identity is noticed."""

from __future__ import annotations

import json
import logging
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from drawn import drawn, saved
from PIL import Image, ImageDraw
from planted import COUNT, Planted, planted, spellings
from pydicom import dcmread
from pydicom.data import get_testdata_file

from rarl.cli import main
from rarl.scans import (
    Identifiers,
    Scan,
    Stack,
    View,
    identity_in_text,
    open_stack,
    open_stack_file,
)
from rarl.scans import proposed_masks as masks_of
from rarl.scans.phi import keyed_hash

QUESTIONS = (
    "Is there a pneumothorax on the left?",
    "Was the 12 mm nodule in segment 6 there in 2021, now 3.5 x 4.2 cm (slice 104 of 312)?",
    "Grade 2/3 stenosis at L4/5; T2w 1.5 T, TE 90, TR 4000, window 40/400, BI-RADS 4.",
    "Compare MR brain and CT chest: Dr suggested effusion 1/2 of the hemithorax, SUV 2.45.",
    "A 65-year-old woman with May-Thurner syndrome, ratio 1:2000, HU -1024 to 3071.",
)


@pytest.fixture(scope="module")
def built() -> Planted:
    return planted()


@pytest.fixture(scope="module")
def stack(built: Planted) -> Stack:
    return open_stack([built.data])


def found_in(text: bytes, built: Planted) -> list[str]:
    return [word for word in built.identifiers if any(form in text for form in spellings(word))]


def test_the_file_really_carries_them(built: Planted) -> None:
    assert len(built.identifiers) == COUNT
    # All but the two that stand in the pixels alone.
    assert found_in(built.data, built) == list(built.identifiers[:-2])


def test_nothing_of_the_header_is_kept(built: Planted, stack: Stack) -> None:
    scan = stack.scan()
    image = BytesIO()
    scan.image.save(image, "PNG")
    kept = (
        pickle.dumps(stack),
        repr(stack).encode(),
        repr(vars(stack)).encode(),
        pickle.dumps(scan),
        repr(scan).encode(),
        image.getvalue(),
    )
    for place, content in enumerate(kept):
        assert found_in(content, built) == [], place
    assert stack.attributes == {"Modality": "US", "PatientAge": "90", "PatientSex": "F"}
    restored: Stack = pickle.loads(pickle.dumps(stack))
    assert np.array_equal(restored.values(), stack.values())


def test_nothing_is_printed_or_logged(
    built: Planted,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / built.file_name
    path.write_bytes(built.data)
    assert main(["scan", str(path), "--json"]) == 0
    (described,) = json.loads(capfd.readouterr().out)
    assert described["modality"] == "US" and described["proposed_masks"]
    broken = tmp_path / f"broken-{built.file_name}"
    broken.write_bytes(built.data[:4000])
    assert main(["scan", str(path), str(broken)]) == 2
    captured = capfd.readouterr()
    everything = json.dumps(described) + captured.out + captured.err + caplog.text
    assert found_in(everything.encode(), built) == []
    assert [file.name for file in tmp_path.iterdir()] == [path.name, broken.name] or len(
        list(tmp_path.iterdir())
    ) == 2


def test_the_banner_is_proposed_and_masked(built: Planted, stack: Stack) -> None:
    assert stack.text_likely
    shown = np.asarray(stack.scan().image)
    assert not np.array_equal(shown, built.picture)
    boxes = masks_of(stack)
    assert any(
        box.left <= built.banner.left
        and box.top <= built.banner.top
        and box.right >= built.banner.right
        and box.bottom >= built.banner.bottom
        for box in boxes
    )
    masked = np.asarray(stack.scan(View(), boxes).image)
    expected = built.picture.copy()
    for box in boxes:
        expected[box.top : box.bottom, box.left : box.right] = 0
    assert np.array_equal(masked, expected)


def test_small_writing_and_writing_on_tissue_is_proposed() -> None:
    """Of a real ultrasound, and of speckle that somebody wrote on."""
    ultrasound = open_stack_file([Path(str(get_testdata_file("examples_rgb_color.dcm")))])
    banner = np.asarray(ultrasound.scan().image.convert("L")) > 200
    banner[45:] = False  # below it begins the tissue
    speckle = np.random.default_rng(5).normal(90, 25, (240, 320)).clip(0, 200).astype(np.uint8)
    on_tissue = Image.fromarray(np.repeat(speckle[:, :, None], 3, axis=2))
    ImageDraw.Draw(on_tissue).text((60, 110), "MILLER, ANNA 4711", (255, 255, 255), font_size=14)
    file = BytesIO()
    on_tissue.save(file, "PNG")
    for stack, ink in (
        (ultrasound, banner),
        (open_stack([file.getvalue()]), np.asarray(on_tissue.convert("L")) > 250),
    ):
        covered = np.zeros(ink.shape, bool)
        for box in masks_of(stack):
            covered[box.top : box.bottom, box.left : box.right] = True
        assert ink.sum() > 100 and covered[ink].mean() > 0.98
        assert covered.mean() < 0.4


def test_uids_become_keyed_hashes(built: Planted) -> None:
    uid = str(dcmread(BytesIO(built.data)).StudyInstanceUID)
    first, again = (open_stack([built.data], secret=b"one secret of ours") for _ in range(2))
    other = open_stack([built.data], secret=b"another secret of ours")
    assert first.study == again.study == keyed_hash(uid, b"one secret of ours")
    assert first.study != other.study and first.study != first.series
    assert first.identifiers == again.identifiers != other.identifiers


def test_typed_identifiers_are_noticed(built: Planted, stack: Stack) -> None:
    header = dcmread(BytesIO(built.data))
    known = [stack.identifiers]
    for element in header.iterall():
        if element.VR == "PN" and element.keyword:
            for word in str(element.value).split("^"):
                (sentence,) = identity_in_text(f"As {word.title()} said, is it worse?", known)
                assert word.title() in sentence and sentence.endswith(
                    "occurs in the scan's header."
                )
    for keyword in ("PatientID", "AccessionNumber", "StudyInstanceUID", "InstitutionName"):
        assert identity_in_text(f"see {header[keyword].value}, please", known), keyword
    birth = str(header.PatientBirthDate)
    for spelling in (
        f"{birth[6:]}.{birth[4:6]}.{birth[:4]}",
        f"{birth[:4]}-{birth[4:6]}-{birth[6:]}",
        birth,
    ):
        (sentence,) = identity_in_text(f"Born {spelling}.", known)
        assert sentence == f'"{spelling}" is a date that occurs in the scan\'s header.'
    # With the wrong secret, or without the scan, a bare name is a word like any other.
    word = header.PatientName.family_name.title().rstrip("0123456789")
    assert identity_in_text(f"As {word} said?") == ()
    given = f"As {header.PatientName.family_name} said?"
    assert identity_in_text(given, known, b"not the secret it had") == ()


def test_names_are_noticed_however_they_are_written() -> None:
    scan = open_stack([saved(drawn(np.zeros((16, 16), np.uint16), PatientName="Müßig-Øre^Zoë"))])
    for written in ("müssig", "MÜSSIG", "zoe", "Zoë's", "(Müßig)"):
        assert identity_in_text(f"is it {written} again", [scan.identifiers]), written
    nobody = open_stack([saved(drawn(np.zeros((16, 16), np.uint16), PatientName="Anonymous^Test"))])
    assert identity_in_text("an unknown test for an anonymous patient", [nobody.identifiers]) == ()


@pytest.mark.parametrize("question", QUESTIONS)
def test_clinical_text_is_left_in_peace(question: str, stack: Stack) -> None:
    assert identity_in_text(question) == ()
    assert identity_in_text(question, [stack.identifiers]) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("born 24.12.1933", '"24.12.1933" looks like a date.'),
        ("on 1933-12-24", '"1933-12-24" looks like a date.'),
        ("seen 12/24/33", '"12/24/33" looks like a date.'),
        ("seen 24 December 1933", '"24 December 1933" looks like a date.'),
        ("seen Dec. 24th, 1933", '"Dec. 24th, 1933" looks like a date.'),
        ("MRN: 4711-08", '"MRN: 4711-08" looks like a record number.'),
        ("Patient ID 123456", '"Patient ID 123456" looks like a record number.'),
        ("number 00471108", '"00471108" looks like a record number.'),
        ("uid 1.2.840.10008.1.2.3", '"1.2.840.10008.1.2.3" looks like a DICOM identifier.'),
        ("call 030 4505 1234", '"030 4505 1234" looks like a telephone number.'),
        ("eva@example.org", '"eva@example.org" looks like a mail address.'),
        ("Mrs Mustermann has pain", '"Mrs Mustermann" looks like a name.'),
        ("Patient: Eva Mustermann", '"Patient: Eva Mustermann" looks like a name.'),
        ("SSN 078-05-1120", '"078-05-1120" looks like a social security number.'),
    ],
)
def test_what_looks_like_identity(text: str, found: str) -> None:
    assert identity_in_text(text) == (found,)


def test_a_folder_name_is_not_kept(built: Planted, tmp_path: Path) -> None:
    folder = tmp_path / built.identifiers[0]
    folder.mkdir()
    (folder / built.file_name).write_bytes(built.data)
    opened = open_stack_file([folder])
    assert built.identifiers[0] not in repr(vars(opened))
    assert isinstance(opened.scan(), Scan)


def _identifiers(name: str, charset: str | list[str] | None = None) -> Identifiers:
    dataset = drawn(np.zeros((16, 16), np.uint16), PatientBirthDate="19331224")
    if charset:
        dataset.SpecificCharacterSet = charset
    dataset.PatientName = name
    return open_stack([saved(dataset)]).identifiers


JAPANESE = ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"])
CHINESE = ("Wang^XiaoDong=王^小东", "GB18030")
KOREAN = ("Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"])


@pytest.mark.parametrize(
    ("name", "charset", "text", "found"),
    [
        (*JAPANESE, "山田さんの胸部CTに結節はありますか", "山田"),
        (*JAPANESE, "山田太郎様の画像", "山田太郎"),
        (*JAPANESE, "ヤマダタロウさんは", "ヤマダタロウ"),
        (*JAPANESE, "ﾔﾏﾀﾞさん", "ﾔﾏﾀﾞ"),
        (*JAPANESE, "やまだの肺", "やまだ"),
        (*CHINESE, "王小东的肺部有结节吗", "王小东"),
        (*CHINESE, "王先生的胸片", "王先生"),
        (*KOREAN, "홍길동의 폐에 결절이 있습니까", "홍길동"),
        ("สมชาย^ใจดี", "ISO_IR 166", "คุณสมชายมีก้อนในปอดหรือไม่", "สมชาย"),
        ("Müller^Jürgen", "ISO_IR 100", "Hat Mueller eine Raumforderung?", "Mueller"),
        ("Müller^Jürgen", "ISO_IR 100", "Juergens Lunge", "Juergen"),
        ("MUELLER^EVA", None, "Hat Müller eine Raumforderung?", "Müller"),
        ("Sørensen^Åse", "ISO_IR 100", "er Soerensen bedre?", "Soerensen"),
        ("Sørensen^Åse", "ISO_IR 100", "er Aase bedre?", "Aase"),
        ("Wałęsa^Lech", "ISO_IR 101", "czy Walesa ma guz?", "Walesa"),
        ("Kowalski^Jan", None, "guz u Kowalskiego?", "Kowalski"),
        ("Иванова^Мария", "ISO_IR 144", "у Ивановой есть узел?", "Иванов"),
    ],
)
def test_names_inside_sentences_and_spelled_otherwise(
    name: str, charset: str | list[str] | None, text: str, found: str
) -> None:
    names = [_identifiers(name, charset)]
    assert identity_in_text(text, names) == (f'"{found}" occurs in the scan\'s header.',)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (JAPANESE, "胸部CTに結節はありますか、高まりますか"),
        (CHINESE, "国王的肺部有结节吗"),
        (KOREAN, "폐에 결절이 있습니까"),
        (("Long^Ann", None), "Is the longest nodule longer than before?"),
        (("Müller^Jürgen", "ISO_IR 100"), "Gibt es Müll, eine mühelose Stelle?"),
    ],
)
def test_other_words_of_the_language_are_left_in_peace(
    name: tuple[str, str | list[str] | None], text: str
) -> None:
    assert identity_in_text(text, [_identifiers(*name)]) == ()


def test_a_name_whose_character_set_is_not_declared() -> None:
    dataset = drawn(np.zeros((16, 16), np.uint16))
    data = saved(dataset)
    name = "山田^太郎 ".encode()
    element = b"\x10\0\x10\0PN" + len(name).to_bytes(2, "little") + name
    place = data.index(b"\x28\0\x02\0US")
    names = [open_stack([data[:place] + element + data[place:]]).identifiers]
    assert identity_in_text("山田さんの肺", names) == ('"山田" occurs in the scan\'s header.',)


@pytest.mark.parametrize(
    "written",
    [
        "24 décembre 1933", "24 de diciembre de 1933", "24 de dezembro de 1933", "24 dicembre 1933",
        "24. Dezember 1933", "24. Dez. 1933", "24 december 1933", "24 grudnia 1933",
        "24. prosince 1933", "24 декабря 1933", "1933. december 24", "24 Aralık 1933",
        "24. joulukuuta 1933", "24 decembrie 1933", "24 Δεκεμβρίου 1933", "24 ديسمبر 1933",
        "24 בדצמבר 1933", "24 ธันวาคม 2476", "24 tháng 12 năm 1933", "1933年12月24日",
        "昭和8年12月24日", "1933년 12월 24일", "1933. 12. 24", "24. 12. 1933", "24-Dec-33",
        "24DEC1933", "1933-Dec-24", "一九三三年十二月二十四日", "民國22年12月24日",
        "diciembre 24, 1933",
    ],
)  # fmt: skip
def test_dates_in_other_languages(written: str) -> None:
    names = [_identifiers("Doe^Jane")]
    assert identity_in_text(f"x {written} y", names) == (
        f'"{written}" is a date that occurs in the scan\'s header.',
    )
    if written[0].isdigit():
        assert identity_in_text(f"生{written}の", names) != ()


def test_numbers_without_a_space_before_them() -> None:
    assert identity_in_text("番号123456です") == ('"123456" looks like a record number.',)
