"""The evaluations that the Results page can show, and which of them is of the loaded model."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from threading import Lock

from demo.pages import render
from demo.pages.results.run import RESULTS, Results
from demo.services.engine_loader import EngineLoader
from rarl.errors import DataError, SettingError
from rarl.evaluation.run_files import ROWS, SUMMARY
from rarl.inference.engine import Arm
from rarl.models.making import Making, adapter_revision, read_making, variant_folders
from rarl.review.store import store_folder
from rarl.settings import read_settings

SETTING = "RARL_RESULTS"
_MOST_BYTES = 1 << 30
_DAMAGED = (
    "This is no evaluation: choose summary.json and rows.parquet of the folder that "
    "`python -m rarl evaluate --out` wrote, or a zip of it."
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run that was measured.

    Attributes:
        key: names it among the others.
        results: its files.
        label: what people read.
        revisions: variant name to the revision of the weights that were measured.
        own: whether it was added, and not shipped.
    """

    key: str
    results: Results
    label: str
    revisions: Mapping[str, str]
    own: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the app has loaded.

    Attributes:
        name: what people call the model.
        model: the name that was configured, "" for a server's.
        arms: the variants on offer.
    """

    name: str
    model: str
    arms: tuple[Arm, ...]

    @property
    def revisions(self) -> dict[str, Arm]:
        """Revision of weights to the variant that has them; a server's has none."""
        return {arm.revision: arm for arm in self.arms if arm.revision and arm.mode is None}

    def making(self, revision: str) -> Making:
        """How the loaded variant of this revision was made; an empty one where nothing says so."""
        arm = self.revisions.get(revision)
        folder = variant_folders(self.model).get(arm.name) if arm else None
        if arm is None or folder is None:
            return Making()
        adapter = adapter_revision(folder)
        # A folder may have been written again since it was loaded.
        if adapter and adapter != revision.split("-")[0]:
            return Making()
        return read_making(folder)


def loaded_by(loader: EngineLoader) -> Loaded | None:
    """What a loader has loaded, None while it has not."""
    engine = loader.engine
    if engine is None:
        return None
    return Loaded(render.short_name(engine.model_name), loader.model, engine.arms)


class Evaluations:
    """The evaluations in some folders.

    Args:
        folders: each an evaluation, or a folder of evaluations; looked through again on each call.
        added: where evaluations from the page go; None takes none.
        shipped: the embedded model's evaluation.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        added: Path | None = None,
        shipped: Path | None = RESULTS,
    ) -> None:
        self._folders = tuple(folders)
        self._added = added
        self._shipped = shipped
        self._known: dict[tuple[Path, int], Evaluation | None] = {}
        self._lock = Lock()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Evaluations:
        """Those of RARL_RESULTS, those that were added from the page, and the shipped one.

        Raises:
            SettingError: RARL_RESULTS is no folder.
        """
        folder = read_settings(environment).results
        if folder is not None and not folder.is_dir():
            raise SettingError(f"{SETTING} must be a folder of evaluations; correct or unset it.")
        added = store_folder(environment) / "evaluations"
        return cls([folder] if folder else [], added)

    @property
    def takes_more(self) -> bool:
        """Whether evaluations can be added from the page."""
        return self._added is not None

    def listed(self) -> list[Evaluation]:
        """All that can be shown, own ones first, the newest of them first."""
        own = [
            place
            for folder in (*self._folders, *([self._added] if self._added else ()))
            for place in (folder, *_below(folder))
            if (place / SUMMARY).is_file()
        ]
        own.sort(key=lambda place: -(place / SUMMARY).stat().st_mtime_ns)
        shipped = [self._shipped] if self._shipped and (self._shipped / SUMMARY).is_file() else []
        read = [self._read(place, place in own) for place in dict.fromkeys([*own, *shipped])]
        return [evaluation for evaluation in read if evaluation is not None]

    def find(self, key: str) -> Evaluation | None:
        """The evaluation of a key, None where it is gone."""
        return next((each for each in self.listed() if each.key == key), None)

    def fitting(self, loaded: Loaded) -> Evaluation | None:
        """The evaluation that measured the most of the loaded variants; None if none did.

        An evaluation of the base alone says nothing of variants that were trained from it.
        """
        revisions = loaded.revisions
        trained = {revision for revision, arm in revisions.items() if arm.name != "base"}

        def measured(evaluation: Evaluation) -> int:
            measured_revisions = set(evaluation.revisions.values()) & set(revisions)
            return len(measured_revisions) if measured_revisions & trained or not trained else 0

        return max((each for each in self.listed() if measured(each)), key=measured, default=None)

    def add(self, files: Sequence[bytes]) -> Evaluation:
        """Keep an evaluation that somebody has uploaded.

        Args:
            files: summary.json and rows.parquet, or a zip that holds them; known by their content.

        Raises:
            DataError: they are no evaluation, or cannot be written.
        """
        assert self._added is not None
        summary, rows = _parts(files)
        name = hashlib.sha256(summary).hexdigest()[:12]
        try:
            self._added.mkdir(parents=True, exist_ok=True, mode=0o700)
            room = Path(mkdtemp(prefix=".new-", dir=self._added))
            try:
                (room / SUMMARY).write_bytes(summary)
                (room / ROWS).write_bytes(rows)
                if self._read(room, own=True) is None:
                    raise DataError(_DAMAGED)
                target = self._added / name
                if not target.exists():
                    room.rename(target)
            finally:
                shutil.rmtree(room, ignore_errors=True)
        except OSError as error:
            raise DataError(f"The evaluation cannot be kept: {error.strerror}.") from error
        added = self._read(self._added / name, own=True)
        if added is None:
            raise DataError(_DAMAGED)
        return added

    def _read(self, place: Path, own: bool) -> Evaluation | None:
        """An evaluation, or None where the folder holds none that can be shown."""
        try:
            stamp = (place / SUMMARY).stat().st_mtime_ns
        except OSError:
            return None
        with self._lock:
            if (place, stamp) not in self._known:
                self._known[place, stamp] = _opened(place, stamp, own)
            return self._known[place, stamp]


def _opened(place: Path, stamp: int, own: bool) -> Evaluation | None:
    results = Results(place)
    try:
        summary = results.summary()
        results.check()
    except DataError:
        return None
    model = render.short_name(str(summary["model"]))
    revisions = {str(arm["name"]): str(arm.get("revision") or "") for arm in summary["arms"]}
    questions = max(int(figure["n"]) for figure in summary["figures"])
    folder = f", {place.name}" if own else ", shipped with the app"
    return Evaluation(
        hashlib.sha256(f"{place} {stamp}".encode()).hexdigest()[:16],
        results,
        f"{model}: {questions:,} questions{folder}",
        revisions,
        own,
    )


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []


def _parts(files: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The summary and the rows among uploaded files; names are not kept by the page."""
    contents = list(files)
    for content in files:
        if content[:2] == b"PK":
            contents += _unpacked(content)
    summary = next((each for each in contents if each.lstrip()[:1] == b"{"), None)
    rows = next((each for each in contents if each[:4] == b"PAR1"), None)
    if summary is None or rows is None:
        raise DataError(_DAMAGED)
    return summary, rows


def _unpacked(content: bytes) -> list[bytes]:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            wanted = [
                entry
                for entry in archive.infolist()
                if PurePosixPath(entry.filename).name in (SUMMARY, ROWS)
            ]
            if len(wanted) != 2 or sum(entry.file_size for entry in wanted) > _MOST_BYTES:
                raise DataError(_DAMAGED)
            return [archive.read(entry) for entry in wanted]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        raise DataError(_DAMAGED) from None
