"""Load datasets in the form published on the Hugging Face Hub, from the Hub or a local folder.

What each column means is written down in a `HubSet`, never guessed. The published sets are in
`HUB`; any other set of the kind (Silvar-Med, whose columns are not public knowledge) is described
in a YAML file, and that file's name then stands wherever a set's name does:

    # silvar_med.yaml: `python -m rarl data silvar_med.yaml`
    name: silvar_med
    repository: /data/silvar_med    # or OWNER/NAME on the Hub
    licence: CC-BY-4.0
    columns:
      image: image                  # an image column, or names of files (then also `images`)
      question: question
      answer: answer
      explanation: explanation      # optional, like kind, modality, organ and category
    images: imgs.zip                # optional: archive or folder with the files named by `image`
    image_folder: imgs              # optional: where in it they are
    splits: {test: unseen}          # optional: published name -> train, validation, test, unseen

Of multiple-choice sets, sets with several images to a question, and sets of reports:

    columns:
      image: [image_1, image_2]     # several columns, or one that holds a list
      options: [A, B, C, D]         # several columns, or one that holds a list or a mapping
      answer: answer
    answers: letter                 # or text: what the answer column holds
    image_form: base64              # the image column holds encoded files
    files: {test: "QA/*.json"}      # JSON files that `datasets` cannot join: plain_json: true
    question: Describe the findings.  # one question for all rows, in place of columns.question
    report: true                    # the answer is a free text

The columns of the published sets in `HUB` are those that MedEvalKit and VLMEvalKit read; where a
copy has others, such a file with that set's `name` and the right columns reads it.

Where the columns that a set has are other ones, the error lists those that exist.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import zipfile
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic.dataclasses import dataclass

from rarl.data.example import SPLITS, Example, ImageRef, Kind, Split
from rarl.data.explanations import MODALITY_NAMES
from rarl.errors import DataError
from rarl.text.choice import LETTERS, MAX_OPTIONS
from rarl.yaml_file import KEYS_ONLY, checked, read_yaml

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

log = logging.getLogger(__name__)

_PUBLISHED_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_KINDS: Mapping[str, Kind] = {
    "CLOSED": "closed",
    "OPEN": "open",
    "MULTIPLE-CHOICE": "choice",  # MMMU
}
# How published sets begin the names of what they call a modality.
_MODALITIES = {
    "ct": "ct",
    "mr": "mri",
    "x-ray": "x-ray",
    "x ray": "x-ray",
    "xray": "x-ray",
    "ultrasound": "ultrasound",
    "microscop": "light microscopy",
    "histopatholog": "light microscopy",
}
_PLACEHOLDER = re.compile(r"<image (\d+)>")
# SLAKE's parts of the body; neck, face and pelvis have no counterpart in `Example.organ`.
_ORGANS = {
    "brain": "brain",
    "brain_tissue": "brain",
    "lung": "chest",
    "chest": "chest",
    "abdomen": "abdomen",
    "breast": "breast",
    "blood": "blood",
}
_MMMU = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class ColumnMapping:
    """The columns of a published set, by their meaning.

    Attributes:
        image: the picture (an image column), or the name of its file (then `HubSet.images`);
            several columns, or one that holds a list, for questions about several images.
        question: the question as asked; None where `HubSet.question` asks the same of all rows.
        answer: the short reference answer; None where only the explanation is given (then
            `HubSet.short_answers` may have it, else the answer is "").
        explanation: the set's own explanation, or None.
        kind: "OPEN" or "CLOSED"; where None, yes and no are closed and all else is open.
        modality: e.g. "MRI"; values outside `MODALITY_NAMES` become None.
        organ: part of the body; values without a counterpart become None.
        category: the set's own question type.
        options: of a multiple-choice set, one column for each option, or a single one that holds a
            list, a mapping or a list in Python's notation.
    """

    image: str | tuple[str, ...]
    question: str | None = None
    answer: str | None = None
    explanation: str | None = None
    kind: str | None = None
    modality: str | None = None
    organ: str | None = None
    category: str | None = None
    options: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.answer is None and self.explanation is None:
            raise ValueError("must name answer, explanation or both")

    @property
    def images(self) -> tuple[str, ...]:
        """The columns with images."""
        return (self.image,) if isinstance(self.image, str) else self.image

    @property
    def offered(self) -> tuple[str, ...]:
        """The columns with options."""
        if self.options is None:
            return ()
        return (self.options,) if isinstance(self.options, str) else self.options

    @property
    def used(self) -> list[str]:
        """Every column that is read."""
        others = (
            self.question, self.answer, self.explanation, self.kind, self.modality, self.organ,
            self.category,
        )  # fmt: skip
        return [*self.images, *self.offered, *(name for name in others if name is not None)]


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class HubSet:
    """A published set: where it is and what its parts mean.

    Attributes:
        name: becomes `Example.source`.
        repository: OWNER/NAME on the Hub, or a local folder of the same form.
        columns: meaning of the columns.
        licence: SPDX-like licence of all rows.
        files: published split -> file, where the repository's own layout must not be trusted to
            be found; None lets `datasets` find the files.
        images: zip archive in the repository (or, in a local one, a folder) with the files that
            the image column names; None where that column holds the pictures.
        image_folder: folder of those files inside `images`.
        only: column -> value that a row must have (SLAKE: the English rows).
        splits: published split -> our split.
        alternatives: mark between accepted answers; the first is kept as the reference.
        revision: branch, tag or commit on the Hub.
        short_answers: file in the local folder, a JSON list of objects with `img_name`, `question`
            and `answer`: the short answers of rows whose text is an explanation.
        answers: whether the answer column of a multiple-choice set holds the right option's letter
            or its text.
        image_form: "base64" where the image column holds encoded files as text.
        plain_json: whether `files` are JSON lists that need not have the same columns; a file
            "FILE#KEY" is the list under a key.
        question: asked of every row; None where a column has the question.
        question_ends: mark from which on a question's text is left out, since the options follow.
        report: whether the answers are free texts, such as reports.
        note: what a reader of its counts must know.
    """

    name: str
    repository: str
    columns: ColumnMapping
    licence: str
    files: Mapping[str, str | tuple[str, ...]] | None = None
    images: str | None = None
    image_folder: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Split] = field(default_factory=lambda: _PUBLISHED_SPLITS)
    alternatives: str | None = None
    revision: str | None = None
    short_answers: str | None = None
    answers: Literal["letter", "text"] = "text"
    image_form: Literal["file", "base64"] = "file"
    plain_json: bool = False
    question: str | None = None
    question_ends: str | None = None
    report: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if (self.columns.question is None) == (self.question is None):
            raise ValueError("must name either columns.question or question")

    @property
    def folder(self) -> Path | None:
        """The local folder, or None where the set comes from the Hub."""
        path = Path(self.repository).expanduser()
        return path if path.is_dir() else None


_SLAKE = HubSet(
    name="slake",
    repository="BoKelvin/SLAKE",
    columns=ColumnMapping(
        image="img_name",
        question="question",
        answer="answer",
        kind="answer_type",
        modality="modality",
        organ="location",
        category="content_type",
    ),
    licence="CC-BY-4.0",
    files={split: f"{split}.json" for split in ("train", "validation", "test")},
    images="imgs.zip",
    image_folder="imgs",
    only={"q_lang": "en"},
    note="English rows alone. Silvar-Med's images come from here.",
)

HUB: Mapping[str, HubSet] = {
    hub_set.name: hub_set
    for hub_set in (
        HubSet(
            name="vqa_rad",
            repository="flaviagiammarino/vqa-rad",
            columns=ColumnMapping("image", "question", "answer"),
            licence="CC0-1.0",
            note="The Hub form does not name its images, so it has train and test alone; validation"
            " and image-disjoint need a local copy.",
        ),
        _SLAKE,
        HubSet(
            name="path_vqa",
            repository="flaviagiammarino/path-vqa",
            columns=ColumnMapping("image", "question", "answer"),
            licence="MIT",
        ),
        HubSet(
            name="vqa_med_2019",
            repository="simwit/vqa-med-2019",
            columns=ColumnMapping("image", "question", "answer"),
            licence="CC-BY-4.0",
            alternatives="#",
            note="Where several answers are accepted, the first is the reference. The images come"
            " from MedPix, like VQA-RAD's.",
        ),
        replace(
            _SLAKE,
            name="slake_zh",
            only={"q_lang": "zh"},
            note="Chinese rows alone, about the images of slake.",
        ),
        HubSet(
            name="pmc_vqa",
            repository="xmcmic/PMC-VQA",
            columns=ColumnMapping(
                image="Figure_path",
                question="Question",
                answer="Answer",
                options=("Choice A", "Choice B", "Choice C", "Choice D"),
            ),
            licence="CC-BY-SA-4.0",
            files={"train": "train_2.csv", "test": "test_2.csv"},
            images="images_2.zip",
            image_folder="figures",
            answers="letter",
            note="Version 2, as MedEvalKit scores it. The figures come from PubMed Central.",
        ),
        HubSet(
            name="omni_med_vqa",
            repository="foreverbeliever/OmniMedVQA",
            columns=ColumnMapping(
                image="image_path",
                question="question",
                answer="gt_answer",
                modality="modality_type",
                category="question_type",
                options=("option_A", "option_B", "option_C", "option_D"),
            ),
            licence="each source data set's own",
            files={"test": "QA_information/Open-access/*.json"},
            images="Images",
            plain_json=True,
            splits={"test": "unseen"},
            note="The open-access part, of a local copy: OmniMedVQA.zip of the Hub, unpacked.",
        ),
        HubSet(
            name="mmmu_medical",
            repository="MMMU/MMMU",
            columns=ColumnMapping(
                image=tuple(f"image_{number}" for number in range(1, 8)),
                question="question",
                answer="answer",
                kind="question_type",
                category="subfield",
                options="options",
            ),
            licence="Apache-2.0",
            files={"validation": tuple(f"{subject}/validation-*.parquet" for subject in _MMMU)},
            answers="letter",
            splits={"validation": "unseen"},
            note="Health and Medicine; its validation part, since the test answers are not"
            " published.",
        ),
        HubSet(
            name="med_xpert_qa_mm",
            repository="TsinghuaC3I/MedXpertQA",
            columns=ColumnMapping(
                image="images",
                question="question",
                answer="label",
                category="medical_task",
                options="options",
            ),
            licence="MIT",
            files={"test": "MM/test.jsonl"},
            images="images.zip",
            image_folder="images",
            answers="letter",
            question_ends="Answer Choices:",
            splits={"test": "unseen"},
        ),
        HubSet(
            name="med_frame_qa",
            repository="SuhaoYu1020/MedFrameQA",
            columns=ColumnMapping(
                image=tuple(f"image_{number}" for number in range(1, 6)),
                question="question",
                answer="correct_answer",
                modality="modality",
                category="organ",
                options="options",
            ),
            licence="CC-BY-4.0",
            files={"test": "data/test-*.parquet"},
            answers="letter",
            splits={"test": "unseen"},
            note="Each question is about two to five frames of one video.",
        ),
        HubSet(
            name="gmai_mmbench",
            repository="OpenGVLab/GMAI-MMBench",
            columns=ColumnMapping(
                image="image",
                question="question",
                answer="answer",
                modality="modality",
                category="clinical VQA task",
                options=("A", "B", "C", "D", "E"),
            ),
            licence="CC-BY-NC-SA",
            files={"validation": "GMAI_mm_bench_VAL.tsv"},
            image_form="base64",
            answers="letter",
            splits={"validation": "unseen"},
            note="Its validation part, since the test answers are not published.",
        ),
        HubSet(
            name="iu_xray",
            repository="iu_xray",
            columns=ColumnMapping(image="image_path", answer="report"),
            licence="as Open-i states it",
            files={split: f"annotation.json#{split}" for split in ("train", "val", "test")},
            images="images",
            plain_json=True,
            question="Describe the findings of this chest X-ray.",
            report=True,
            note="Reports of the Indiana University collection in R2Gen's form; it needs a local"
            " copy with annotation.json and the folder images.",
        ),
    )
}


def read_hub_set(path: Path) -> HubSet:
    """Read the description of a set from a YAML file (see the top of this module).

    Raises:
        DataError: the file is missing, is not YAML, or has a key too many or too few.
    """
    hub_set = checked(HubSet, read_yaml(path, DataError), str(path), DataError)
    return replace(hub_set, splits={**_PUBLISHED_SPLITS, **hub_set.splits})


def load_hub(hub_set: HubSet) -> list[Example]:
    """All rows of a published set; images stay encoded, and each is held once.

    Rows without a question or an answer (SLAKE has one) are left out with a warning.
    Rows that share an image share `ImageRef.key`, the SHA-256 of its bytes. There are no facts,
    and an explanation only where the set has its own.

    Raises:
        DataError: the set is out of reach, or its columns, splits or values are not as described.
    """
    examples: list[Example] = []
    images: dict[str, ImageRef] = {}
    for published, table in _open(hub_set).items():
        if published not in hub_set.splits:
            raise DataError(
                f"{hub_set.name} has a split {published!r}; say in its description under splits"
                f" which of {_list(SPLITS)} that is."
            )
        examples += _rows(hub_set, published, table, images)
    return examples


def _rows(
    hub_set: HubSet, published: str, table: Dataset, known_images: dict[str, ImageRef]
) -> Iterator[Example]:
    columns = hub_set.columns
    split = hub_set.splits[published]
    used = [*columns.used, *hub_set.only]
    if missing := sorted(set(used) - set(table.column_names)):
        raise DataError(
            f"{hub_set.name} has no column {_list(missing)}; its columns are"
            f" {_list(table.column_names)}. Map them in a YAML file (see rarl/data/hub.py)."
        )
    short = _short_answers(hub_set)
    with _image_reader(hub_set, table, known_images) as (undecoded, image_of):
        for number, row in enumerate(undecoded.select_columns(list(dict.fromkeys(used)))):
            if any(row[name] != value for name, value in hub_set.only.items()):
                continue
            at = f"{hub_set.name}, {published} row {number}"
            question, answer = _question(hub_set, row), _text(row, columns.answer)
            if hub_set.alternatives and answer:
                answer = answer.split(hub_set.alternatives)[0].strip()
            explanation = _text(row, columns.explanation)
            if columns.answer is None and explanation:
                answer = short.get((str(row[columns.images[0]]), question or ""), "")
            if not question or answer is None:
                log.warning("%s is left out: no %s", at, "answer" if question else "question")
                continue
            kind = "report" if hub_set.report else _kind(_text(row, columns.kind), answer, at)
            options: tuple[str, ...] = ()
            if columns.offered and (columns.kind is None or kind == "choice"):
                options = _options(row, columns, at)
                right = _right(answer, options, hub_set.answers)
                if right is None:
                    log.warning("%s is left out: no single option is the right one", at)
                    continue
                kind, answer = "choice", right
            elif not hub_set.report:
                answer = _first_of(answer).lower()
            images = [image_of(cell, at) for cell in _cells(row, columns.images)]
            if not images:
                raise DataError(f"{at}: no image.")
            yield Example(
                id=f"{hub_set.name}/{published}/{number}",
                image=images[0],
                more=tuple(images[1:]),
                question=question,
                answer=answer,
                options=options,
                explanation=explanation,
                kind=kind,
                modality=_modality(_text(row, columns.modality)),
                organ=_ORGANS.get((_text(row, columns.organ) or "").lower()),
                facts=(),
                source=hub_set.name,
                licence=hub_set.licence,
                split=split,
                category=_text(row, columns.category),
            )


def _short_answers(hub_set: HubSet) -> dict[tuple[str, str], str]:
    """The short answer of each image's name and question, from the set's second file."""
    if hub_set.short_answers is None:
        return {}
    path = (hub_set.folder or Path()) / hub_set.short_answers
    try:
        rows = json.loads(path.read_text("utf-8"))
        return {
            (row["img_name"], " ".join(row["question"].split())): " ".join(row["answer"].split())
            for row in rows
        }
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} must be a JSON list of objects with img_name, question and answer."
        ) from error


def _kind(published: str | None, answer: str, at: str) -> Kind:
    if published is None:
        return "closed" if answer.lower() in {"yes", "no"} else "open"
    if published.upper() not in _KINDS:
        raise DataError(
            f"{at}: its kind is {published!r}, neither OPEN nor CLOSED nor MULTIPLE-CHOICE."
        )
    return _KINDS[published.upper()]


def _question(hub_set: HubSet, row: Mapping[str, Any]) -> str | None:
    if hub_set.question is not None:
        return hub_set.question
    question = _text(row, hub_set.columns.question)
    if question and hub_set.question_ends:
        question = question.partition(hub_set.question_ends)[0].strip()
    return question and _pictures_named(question)


def _pictures_named(text: str) -> str:
    """MMMU writes "<image 1>" where the prompt has numbered pictures."""
    return _PLACEHOLDER.sub(r"picture \1", text)


def _modality(published: str | None) -> str | None:
    name = (published or "").lower()
    if name in MODALITY_NAMES:
        return name
    return next((known for start, known in _MODALITIES.items() if name.startswith(start)), None)


def _cells(row: Mapping[str, Any], columns: Iterable[str]) -> list[Any]:
    """What columns with images hold, lists taken apart and empty cells left out."""
    cells: list[Any] = []
    for column in columns:
        cell = row[column]
        cells += cell if isinstance(cell, list) else [cell]
    return [cell for cell in cells if cell is not None]


def _options(row: Mapping[str, Any], columns: ColumnMapping, at: str) -> tuple[str, ...]:
    """The options of a row in their published order, without letters before them."""
    if len(columns.offered) > 1:
        cells = [row[name] for name in columns.offered]
    else:
        offered = row[columns.offered[0]]
        if isinstance(offered, str):
            try:
                offered = literal_eval(offered)
            except (ValueError, SyntaxError) as error:
                raise DataError(f"{at}: its options are no list.") from error
        cells = list(offered.values() if isinstance(offered, Mapping) else offered or ())
    texts = [" ".join(str(cell).split()) for cell in cells if not _is_empty(cell)]
    bare = [
        re.sub(rf"^\(?{letter}\s*[.:)]\s*", "", text)
        for letter, text in zip(LETTERS, texts, strict=False)
    ]
    # Only where every option has its own letter is it no part of the text.
    lettered = all(
        bare_text != text and bare_text for bare_text, text in zip(bare, texts, strict=True)
    )
    return tuple(_pictures_named(text) for text in (bare if lettered else texts))


def _is_empty(cell: Any) -> bool:
    return cell is None or cell != cell or not str(cell).strip()  # a missing number is no number


def _right(answer: str, options: Sequence[str], form: Literal["letter", "text"]) -> str | None:
    """The right option; None where none is, or where two options are alike."""
    distinct = {option.casefold() for option in options}
    if not 2 <= len(options) <= MAX_OPTIONS or len(distinct) < len(options):
        return None
    if form == "letter":
        letter = answer.strip("().: ").upper()
        place = LETTERS.find(letter) if len(letter) == 1 else -1
        return options[place] if 0 <= place < len(options) else None
    return next((option for option in options if option.casefold() == answer.casefold()), None)


def _first_of(answer: str) -> str:
    """The first of several accepted answers in Python's notation (MMMU's open questions)."""
    if answer.startswith("[") and answer.endswith("]"):
        with suppress(ValueError, SyntaxError):
            listed = literal_eval(answer)
            if isinstance(listed, list) and listed:
                return str(listed[0])
    return answer


def _text(row: Mapping[str, Any], column: str | None) -> str | None:
    """A cell as one line, or None where it is empty or there is no such column."""
    if column is None or row[column] is None:
        return None
    return " ".join(str(row[column]).split()) or None


@contextmanager
def _image_reader(
    hub_set: HubSet, table: Dataset, images: dict[str, ImageRef]
) -> Iterator[tuple[Dataset, Callable[[Any, str], ImageRef]]]:
    """The table with its pictures undecoded, and a function from a cell to its image."""
    from datasets import Image, List

    columns = hub_set.columns.images

    def hold(data: bytes) -> ImageRef:
        key = hashlib.sha256(data).hexdigest()
        return images.setdefault(key, ImageRef(key, data=data))

    if hub_set.image_form == "base64":

        def from_text(cell: Any, at: str) -> ImageRef:
            try:
                return hold(base64.b64decode(str(cell), validate=True))
            except ValueError as error:
                raise DataError(f"{at}: its image is not in base64.") from error

        yield table, from_text
        return
    if all(_holds_pictures(table, column) for column in columns):

        def from_cell(cell: Any, at: str) -> ImageRef:
            if cell is None or not (cell["bytes"] or cell["path"]):
                raise DataError(f"{at}: no image.")
            try:
                return hold(cell["bytes"] or Path(cell["path"]).read_bytes())
            except OSError as error:
                raise DataError(f"{at}: {cell['path']} could not be read.") from error

        for column in columns:
            kind = table.features[column]
            undecoded = (
                Image(decode=False) if isinstance(kind, Image) else List(Image(decode=False))
            )
            table = table.cast_column(column, undecoded)
        yield table, from_cell
        return
    if hub_set.images is None:
        raise DataError(
            f"{hub_set.name}: column {_list(columns)} holds no pictures; say in its description"
            " under images which archive or folder has the files that it names."
        )
    named: dict[str, ImageRef] = {}
    with _files(hub_set) as read:

        def from_name(cell: Any, at: str) -> ImageRef:
            name = PurePosixPath(hub_set.image_folder) / str(cell)
            if cell is None or name.is_absolute() or ".." in name.parts:
                raise DataError(f"{at}: {cell!r} is not the name of an image.")
            if str(name) not in named:
                try:
                    named[str(name)] = hold(_read_named(read, name))
                except (KeyError, OSError) as error:
                    raise DataError(f"{at}: {hub_set.images} has no {name}.") from error
            return named[str(name)]

        yield table, from_name


def _holds_pictures(table: Dataset, column: str) -> bool:
    from datasets import Image, List

    kind = table.features[column]
    return isinstance(kind, Image) or (isinstance(kind, List) and isinstance(kind.feature, Image))


def _read_named(read: Callable[[str], bytes], name: PurePosixPath) -> bytes:
    """A named image; a further question about one image may be named `NAME_1.jpg` (Silvar-Med)."""
    try:
        return read(str(name))
    except (KeyError, OSError):
        shared = name.with_stem(re.sub(r"_\d+$", "", name.stem))
        if shared == name:
            raise
        return read(str(shared))


@contextmanager
def _files(hub_set: HubSet) -> Iterator[Callable[[str], bytes]]:
    """A function that reads a file of the set's archive or folder of images."""
    assert hub_set.images is not None
    if hub_set.folder is not None:
        path = hub_set.folder / hub_set.images
        if not path.exists() and hub_set.image_folder:
            # A copy whose archive was unpacked.
            path = hub_set.folder
    else:
        from huggingface_hub import hf_hub_download

        with _reachable(hub_set):
            path = Path(
                hf_hub_download(
                    hub_set.repository,
                    hub_set.images,
                    repo_type="dataset",
                    revision=hub_set.revision,
                )
            )
    if path.is_dir():
        # OmniMedVQA's rows name the folder itself too.
        inside = path.parent if hub_set.plain_json and not hub_set.report else path
        yield lambda name: (inside / name).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{hub_set.name}: {path} is neither a zip archive nor a folder.") from error
    with archive:
        yield archive.read


def _open(hub_set: HubSet) -> DatasetDict:
    from datasets import load_dataset

    if hub_set.plain_json:
        return _plain(hub_set)
    files = None
    if hub_set.files is not None:
        files = {
            split: name if isinstance(name, str) else list(name)
            for split, name in hub_set.files.items()
        }
    with _reachable(hub_set):
        return load_dataset(
            str(hub_set.folder or hub_set.repository), data_files=files, revision=hub_set.revision
        )


def _plain(hub_set: HubSet) -> DatasetDict:
    """JSON lists in a local folder; a column that a row lacks is None."""
    from datasets import Dataset, DatasetDict

    if hub_set.folder is None or hub_set.files is None:
        raise DataError(
            f"{hub_set.name} is read from a local copy alone: put it into the folder"
            f" {hub_set.name} of RARL_DATA."
        )
    tables = {}
    for split, names in hub_set.files.items():
        rows: list[dict[str, Any]] = []
        for pattern in (names,) if isinstance(names, str) else names:
            pattern, _, key = pattern.partition("#")
            for path in sorted(hub_set.folder.glob(pattern)):
                try:
                    content = json.loads(path.read_text("utf-8"))
                    rows += content[key] if key else content
                except (OSError, ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{hub_set.name}: {path.name} is no JSON list of rows"
                        + (f" under {key!r}." if key else ".")
                    ) from error
        if not rows:
            raise DataError(f"{hub_set.name}: no row in {_list(hub_set.files.values())}.")
        every = dict.fromkeys(name for row in rows for name in row)
        optional = hub_set.columns.offered
        wanted = [name for name in hub_set.columns.used if name in every or name in optional]
        tables[split] = Dataset.from_dict(
            {name: [row.get(name) for row in rows] for name in dict.fromkeys(wanted)}
        )
    return DatasetDict(tables)


@contextmanager
def _reachable(hub_set: HubSet) -> Iterator[None]:
    """Turn whatever `datasets` and the Hub raise into one sentence, without their warnings."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub import logging as hub_logging
    from huggingface_hub.errors import HfHubHTTPError

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # it warns at each of its five attempts
    try:
        yield
    except (OSError, ValueError, DatasetsError, HfHubHTTPError) as error:
        if hub_set.folder is not None:
            raise DataError(
                f"{hub_set.name}: {hub_set.repository} is not laid out as described"
                f" ({type(error).__name__})."
            ) from error
        raise DataError(
            f"{hub_set.name} could not be fetched: connect to the Hugging Face Hub, which has it as"
            f" {hub_set.repository}, or put a copy into the folder {hub_set.name} of RARL_DATA."
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)


def _list(names: Any) -> str:
    return ", ".join(names)
