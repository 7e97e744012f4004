"""Write a run in the forms that other evaluators and the Hub read.

`.eval` logs open in inspect_ai's viewer, sample files are lmms-eval's, and `.eval_results/*.yaml`
is what a model page on the Hub shows. Nothing is uploaded.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from rarl import __version__
from rarl.data.hub import HUB
from rarl.errors import DataError
from rarl.evaluation.rows import Row
from rarl.text.choice import LETTERS

Form = Literal["inspect", "lmms-eval", "hub"]
FORMS: tuple[Form, ...] = ("inspect", "lmms-eval", "hub")
EXPORTS = "exports"

# Zip archives want a year from 1980 on; a fixed one makes equal runs equal files.
_STAMP = (1980, 1, 1, 0, 0, 0)
_WHEN = datetime(1980, 1, 1, tzinfo=UTC).isoformat()


def export(folder: Path, forms: Sequence[Form], rows: Sequence[Row], summary: Mapping[str, Any],
           when: str = _WHEN) -> list[Path]:  # fmt: skip
    """Write a run in other forms, below `exports` of its folder.

    Only greedy answers about the scan itself are written: what the other forms call a sample.

    Args:
        folder: of the run.
        forms: which of `FORMS`.
        rows: of the run, with their words.
        summary: of the run.
        when: date and time of the run, ISO 8601 with a time zone.

    Returns:
        The files that were written.

    Raises:
        DataError: the rows were published without their words, or a file cannot be written.
    """
    chosen = [row for row in rows if row.condition == "scan" and row.draw == 0]
    if any(row.question is None for row in chosen):
        raise DataError(
            "These rows were published without questions and references, so they cannot be "
            "exported; export where the run was made."
        )
    writers: dict[Form, Callable[..., Iterator[Path]]] = {
        "inspect": _inspect,
        "lmms-eval": _lmms_eval,
        "hub": _hub,
    }
    try:
        return [
            path
            for form in forms
            for path in writers[form](folder / EXPORTS / form, chosen, summary, when)
        ]
    except OSError as error:
        raise DataError(f"The export cannot be written: {error.strerror}.") from error


def _inspect(
    folder: Path, rows: Sequence[Row], summary: Mapping[str, Any], when: str
) -> Iterator[Path]:
    """One `.eval` log for each set, split, variant and mode (inspect_ai, log version 2)."""
    for (source, split, arm, mode), part in _tasks(rows).items():
        task = f"rarl_{source}_{split}_{mode}"
        model = f"rarl/{summary['model']}-{arm}"
        right = [float(row.exact) for row in part]
        known = _short_hash(f"{task} {model} {part[0].revision}")
        header = {
            "version": 2,
            "status": "success",
            "eval": {
                "eval_id": known,
                "run_id": known,
                "created": when,
                "task": task,
                "task_id": known,
                "task_version": 0,
                "task_attribs": {},
                "task_args": {"source": source, "split": split, "mode": mode},
                "dataset": {
                    "name": f"{source}:{split}",
                    "samples": len(part),
                    "sample_ids": [row.id for row in part],
                    "shuffled": False,
                },
                "model": model,
                "model_generate_config": {
                    "max_tokens": part[0].max_new_tokens,
                    "temperature": part[0].temperature,
                    "seed": part[0].seed,
                },
                "model_args": {"revision": part[0].revision},
                "config": {"epochs": 1, "log_samples": True, "log_images": False},
                "packages": {"rarl": __version__},
                "metadata": {"base_revision": part[0].model_revision, "prompt": part[0].prompt},
                "scorers": [
                    {
                        "name": "exact",
                        "options": {},
                        "metrics": [{"name": "accuracy", "options": {}}],
                        "metadata": {},
                    }
                ],
            },
            "plan": {"name": "plan", "steps": [], "config": {}},
            "results": {
                "total_samples": len(part),
                "completed_samples": len(part),
                "scores": [
                    {
                        "name": "exact",
                        "scorer": "exact",
                        "params": {},
                        "metrics": {
                            "accuracy": {
                                "name": "accuracy",
                                "value": sum(right) / len(right),
                                "params": {},
                            }
                        },
                    }
                ],
            },
            "stats": {"started_at": when, "completed_at": when, "model_usage": {}},
        }
        samples = [_inspect_sample(row, model) for row in part]
        path = folder / f"{task}_{arm}.eval"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:

            def put(name: str, content: Any, archive: zipfile.ZipFile = archive) -> None:
                entry = zipfile.ZipInfo(name, _STAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, json.dumps(content, ensure_ascii=False))

            start = {name: header[name] for name in ("version", "eval", "plan")}
            put("_journal/start.json", start)
            for sample in samples:
                put(f"samples/{sample['id']}_epoch_1.json", sample)
            put("summaries.json", [_inspect_summary(sample) for sample in samples])
            put("header.json", header)
        yield path


def _inspect_sample(row: Row, model: str) -> dict[str, Any]:
    message = _short_hash(f"{row.id} {row.arm}")
    return {
        "id": row.id,
        "epoch": 1,
        "input": row.question,
        "choices": list(row.options) or None,
        "target": _target(row),
        "messages": [
            {"id": f"{message}u", "role": "user", "source": "input", "content": row.asked},
            {"id": f"{message}a", "role": "assistant", "source": "generate", "content": row.text},
        ],
        "output": {
            "model": model,
            "choices": [
                {
                    "message": {
                        "id": f"{message}a",
                        "role": "assistant",
                        "source": "generate",
                        "content": row.text,
                    },
                    "stop_reason": "stop",
                }
            ],
            "completion": row.text,
        },
        "scores": {
            "exact": {
                "value": "C" if row.exact else "I",
                "answer": row.answer,
                "explanation": row.reasoning,
                "metadata": {"f1": row.f1, "problems": list(row.problems)},
            }
        },
        "metadata": {
            "modality": row.modality,
            "organ": row.organ,
            "category": row.category,
            "kind": row.kind,
            "image": row.image,
            "picture_hashes": list(row.picture_hashes),
        },
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
    }


def _inspect_summary(sample: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "epoch", "input", "choices", "target", "metadata", "scores", "model_usage")
    return {name: sample[name] for name in names} | {"completed": True}


def _lmms_eval(
    folder: Path, rows: Sequence[Row], summary: Mapping[str, Any], when: str
) -> Iterator[Path]:
    """One sample file for each set, split, variant and mode, as `--log_samples` writes it."""
    for (source, split, arm, mode), part in _tasks(rows).items():
        lines = [
            {
                "doc_id": number,
                "target": _target(row),
                "filtered_resps": [row.answer],
                "resps": [[row.text]],
                "input": row.asked,
                "doc_hash": hashlib.sha256(f"{row.id} {row.question}".encode()).hexdigest(),
                "exact_match": float(row.exact),
                "id": row.id,
                "seed": row.seed,
                "picture_hashes": list(row.picture_hashes),
            }
            for number, row in enumerate(part)
        ]
        path = folder / f"{arm}_samples_rarl_{source}_{split}_{mode}.jsonl"
        _write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        yield path


def _hub(
    folder: Path, rows: Sequence[Row], summary: Mapping[str, Any], when: str
) -> Iterator[Path]:
    """One file for each set and variant, to be put into `.eval_results` of the model's repository.

    Only sets that are on the Hub can be named there.
    """
    for (source, split, arm, mode), part in _tasks(rows).items():
        if source not in HUB or "/" not in HUB[source].repository:
            continue
        value = 100 * sum(row.exact for row in part) / len(part)
        entry = EvalResultEntry(
            dataset_id=HUB[source].repository,
            task_id="default",
            value=round(value, 2),
            dataset_revision=HUB[source].revision,
            date=when[:10] if when != _WHEN else None,
            notes=f"exact match after normalisation, %; {len(part)} questions of split {split}, "
            f"mode {mode}, revision {part[0].revision}, rarl {__version__}",
        )
        text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
        path = folder / arm / ".eval_results" / f"{source}_{split}_{mode}.yaml"
        _write(path, text)
        yield path


def _tasks(rows: Sequence[Row]) -> dict[tuple[str, str, str, str], list[Row]]:
    tasks: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        tasks.setdefault((row.source, row.split, row.arm, row.mode), []).append(row)
    return tasks


def _target(row: Row) -> str:
    return row.reference if row.position is None else LETTERS[row.position]


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:22]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
