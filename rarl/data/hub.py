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

Where the columns that a set has are other ones, the error lists those that exist.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from rarl.data.example import SPLITS, Example, ImageRef, Kind, Split
from rarl.data.explanations import MODALITY_NAMES
from rarl.errors import DataError
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
_KINDS: Mapping[str, Kind] = {"CLOSED": "closed", "OPEN": "open"}
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


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class ColumnMapping:
    """The columns of a published set, by their meaning.

    Attributes:
        image: the picture (an image column), or the name of its file (then `HubSet.images`).
        question: the question as asked.
        answer: the short reference answer; None where only the explanation is given (then
            `HubSet.short_answers` may have it, else the answer is "").
        explanation: the set's own explanation, or None.
        kind: "OPEN" or "CLOSED"; where None, yes and no are closed and all else is open.
        modality: e.g. "MRI"; values outside `MODALITY_NAMES` become None.
        organ: part of the body; values without a counterpart become None.
        category: the set's own question type.
    """

    image: str
    question: str
    answer: str | None = None
    explanation: str | None = None
    kind: str | None = None
    modality: str | None = None
    organ: str | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        if self.answer is None and self.explanation is None:
            raise ValueError("must name answer, explanation or both")


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
        note: what a reader of its counts must know.
    """

    name: str
    repository: str
    columns: ColumnMapping
    licence: str
    files: Mapping[str, str] | None = None
    images: str | None = None
    image_folder: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Split] = field(default_factory=lambda: _PUBLISHED_SPLITS)
    alternatives: str | None = None
    revision: str | None = None
    short_answers: str | None = None
    note: str = ""

    @property
    def folder(self) -> Path | None:
        """The local folder, or None where the set comes from the Hub."""
        path = Path(self.repository).expanduser()
        return path if path.is_dir() else None


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
        HubSet(
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
        ),
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
    held: dict[str, ImageRef] = {}
    for published, table in _open(hub_set).items():
        if published not in hub_set.splits:
            raise DataError(
                f"{hub_set.name} has a split {published!r}; say in its description under splits"
                f" which of {_list(SPLITS)} that is."
            )
        examples += _rows(hub_set, published, table, held)
    return examples


def _rows(
    hub_set: HubSet, published: str, table: Dataset, held: dict[str, ImageRef]
) -> Iterator[Example]:
    columns = hub_set.columns
    split = hub_set.splits[published]
    used = [name for name in (*asdict(columns).values(), *hub_set.only) if name is not None]
    if missing := sorted(set(used) - set(table.column_names)):
        raise DataError(
            f"{hub_set.name} has no column {_list(missing)}; its columns are"
            f" {_list(table.column_names)}. Map them in a YAML file (see rarl/data/hub.py)."
        )
    short = _short_answers(hub_set)
    with _image_reader(hub_set, table, held) as (undecoded, image_of):
        for number, row in enumerate(undecoded.select_columns(list(dict.fromkeys(used)))):
            if any(row[name] != value for name, value in hub_set.only.items()):
                continue
            at = f"{hub_set.name}, {published} row {number}"
            question, answer = _text(row, columns.question), _text(row, columns.answer)
            if hub_set.alternatives and answer:
                answer = answer.split(hub_set.alternatives)[0].strip()
            explanation = _text(row, columns.explanation)
            if columns.answer is None and explanation:
                answer = short.get((str(row[columns.image]), question or ""), "")
            if not question or answer is None:
                log.warning("%s is left out: no %s", at, "answer" if question else "question")
                continue
            answer = answer.lower()
            modality = (_text(row, columns.modality) or "").lower()
            yield Example(
                id=f"{hub_set.name}/{published}/{number}",
                image=image_of(row[columns.image], at),
                question=question,
                answer=answer,
                explanation=explanation,
                kind=_kind(_text(row, columns.kind), answer, at),
                modality=modality if modality in MODALITY_NAMES else None,
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
        return "closed" if answer in {"yes", "no"} else "open"
    if published.upper() not in _KINDS:
        raise DataError(f"{at}: its kind is {published!r}, neither OPEN nor CLOSED.")
    return _KINDS[published.upper()]


def _text(row: Mapping[str, Any], column: str | None) -> str | None:
    """A cell as one line, or None where it is empty or there is no such column."""
    if column is None or row[column] is None:
        return None
    return " ".join(str(row[column]).split()) or None


@contextmanager
def _image_reader(
    hub_set: HubSet, table: Dataset, held: dict[str, ImageRef]
) -> Iterator[tuple[Dataset, Callable[[Any, str], ImageRef]]]:
    """The table with its pictures undecoded, and a function from a cell to its image."""
    from datasets import Image

    column = hub_set.columns.image

    def hold(data: bytes) -> ImageRef:
        key = hashlib.sha256(data).hexdigest()
        return held.setdefault(key, ImageRef(key, data=data))

    if isinstance(table.features[column], Image):

        def from_cell(cell: Any, at: str) -> ImageRef:
            if cell is None or not (cell["bytes"] or cell["path"]):
                raise DataError(f"{at}: no image.")
            try:
                return hold(cell["bytes"] or Path(cell["path"]).read_bytes())
            except OSError as error:
                raise DataError(f"{at}: {cell['path']} could not be read.") from error

        yield table.cast_column(column, Image(decode=False)), from_cell
        return
    if hub_set.images is None:
        raise DataError(
            f"{hub_set.name}: column {column} holds no pictures; say in its description under"
            " images which archive or folder has the files that it names."
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
        yield lambda name: (path / name).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{hub_set.name}: {path} is neither a zip archive nor a folder.") from error
    with archive:
        yield archive.read


def _open(hub_set: HubSet) -> DatasetDict:
    from datasets import load_dataset

    with _reachable(hub_set):
        return load_dataset(
            str(hub_set.folder or hub_set.repository),
            data_files=None if hub_set.files is None else dict(hub_set.files),
            revision=hub_set.revision,
        )


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
