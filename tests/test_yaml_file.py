"""A mistake in a YAML file is one sentence with the file, the place and what to write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass

from rarl.errors import DataError
from rarl.yaml_file import KEYS_ONLY, Amount, Count, Flag, Text, checked, read_yaml


@dataclass(frozen=True, config=KEYS_ONLY)
class Inner:
    count: Count
    words: tuple[str, ...] = ()


@dataclass(frozen=True, config=KEYS_ONLY)
class Outer:
    name: Text
    inner: Inner
    share: Amount = 0.0
    active: Flag = False
    shares: Mapping[Literal["a", "b"], Amount] | None = None
    kind: Literal["x", "y"] = "x"

    def __post_init__(self) -> None:
        if self.name == "wrong":
            raise ValueError("must not be called so")


def read(tmp_path: Path, text: str | bytes) -> Outer:
    path = tmp_path / "site.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return checked(Outer, read_yaml(path, DataError), path.name, DataError)


def test_what_is_right_is_read(tmp_path: Path) -> None:
    given = "{name: n, inner: {count: 2, words: [a]}, share: 1e-4, active: true, shares: {a: 1}}"
    assert read(tmp_path, given) == Outer("n", Inner(2, ("a",)), 1e-4, True, {"a": 1.0})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "site.yaml: the file must be a mapping, not empty."),
        ("{name: n}", "site.yaml: the file lacks inner; add it."),
        ("{nam: n, inner: {count: 1}}",
         "site.yaml: the file has no key nam; it has name, inner, share, active, shares, kind."),
        ("{name: n, inner: {cnt: 1}}", "site.yaml: inner has no key cnt; it has count, words."),
        ("{name: n, inner: {count: 1.5}}",
         "site.yaml: inner.count must be a whole number, 0 or more, not 1.5."),
        ("{name: n, inner: {count: -1}}",
         "site.yaml: inner.count must be a number, 0 or more, not -1."),
        ("{name: n, inner: {count: true}}",
         "site.yaml: inner.count must be a number, not true or false."),
        ("{name: n, inner: {count: 1, words: a}}",
         "site.yaml: inner.words must be a list, not 'a'."),
        ("{name: '', inner: {count: 1}}",
         "site.yaml: name must be text that is not empty, not ''."),
        ("{name: n, inner: {count: 1}, active: 1}",
         "site.yaml: active must be true or false, not 1."),
        ("{name: n, inner: {count: 1}, share: .inf}",
         "site.yaml: share must be a number, 0 or more, not inf."),
        ("{name: n, inner: {count: 1}, shares: {c: 1}}",
         "site.yaml: shares has no key c; it has 'a' or 'b'."),
        ("{name: n, inner: {count: 1}, kind: z}", "site.yaml: kind must be x or y, not 'z'."),
        ("{name: wrong, inner: {count: 1}}", "site.yaml: the file must not be called so."),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"name: \xff", "is not text in UTF-8"),
        (b"name: [", "is not a YAML file; correct line 1"),
        (b"name: a\x07b", "is not a YAML file"),
        (b"name: 2026-99-99", "is not a YAML file"),
        (b"name: n\ninner: {count: 1}\nname: m", "line 3: name occurs twice; rename or remove one"),
        (b"name: n\ninner: {count: 1, count: 2}", "line 2: count occurs twice"),
    ],
    ids=["encoding", "bracket", "control", "date", "key", "inner key"],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path, text)
    assert "site.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "none.yaml", DataError)
