"""Who may do what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rarl.errors import ReviewError
from rarl.review import CaseSnapshot, Queue, ReviewStore
from rarl.review.roles import ROLES, People, Role, may, read_people
from rarl.review.studies import Studies
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import export

MakeCase = Callable[..., CaseSnapshot]


def test_each_role_may_what_the_ones_before_may() -> None:
    rights = ("ask", "flag", "queue", "judge", "adjudicate", "export", "delete", "users")
    allowed = [[may(role, right) for right in rights] for role in ROLES]  # type: ignore[arg-type]
    assert [sum(row) for row in allowed] == [2, 4, 5, 8]
    assert not any(may(None, right) for right in rights)  # type: ignore[arg-type]


def test_the_list_of_people(tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text("people:\n  Dr.A@example.org: adjudicator\notherwise: reader\nunnamed: none\n")
    people = read_people(path)
    assert people.role(" dr.a@EXAMPLE.org") == "adjudicator"
    assert (people.role("other"), people.role(None), people.role(" ")) == ("reader", None, None)
    assert People().role(None) == "visitor" and read_people(path) == people
    for bad in (
        "people: [a]", "people: {a: king}", "people: {a: reader, A: admin}", "roles: {}", "{", "3",
        "people: {a: none}", "otherwise: everything",
    ):  # fmt: skip
        path.write_text(bad)
        with pytest.raises(ReviewError, match=r"people\.yaml"):
            read_people(path)


@pytest.mark.parametrize("role", [None, "visitor", "reader", "adjudicator"])
def test_the_store_refuses_what_a_role_may_not(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path, role: Role | None
) -> None:
    case_id = store.add_case(make_case())
    flag = store.add_flag(case_id, "sft", "style", "none")
    theirs = store.for_person("A", role)
    attempts: list[Callable[[], object]] = [
        lambda: export(theirs, tmp_path / "out", "csv"),
        lambda: list(theirs.flagged()),
        lambda: import_from(theirs, tmp_path),
        lambda: theirs.delete_case(case_id, "x"),
        lambda: theirs.audit(),
        lambda: theirs.tombstones(),
    ]
    if role != "adjudicator":
        attempts += [
            lambda: Studies(theirs).draw_audit("t", 1, ["A", "B"], seed=0),
            lambda: Queue(theirs).assign([(case_id, "sft")], "A"),
        ]
    if role in (None, "visitor"):
        attempts += [
            lambda: theirs.case(case_id),
            lambda: theirs.flag(flag.id),
            lambda: theirs.flags(),
            lambda: theirs.votes(),
            lambda: theirs.counts(["arm"]),
            lambda: Queue(theirs).items(),
            lambda: Queue(theirs).settled(),
            lambda: Queue(theirs).verdicts(case_id, "sft"),
            lambda: Studies(theirs).all(),
        ]
    if role is None:
        attempts += [lambda: theirs.add_flag(case_id, "sft", "style", "none")]
    for attempt in attempts:
        with pytest.raises(ReviewError, match="You may not"):
            attempt()
    assert store.count() == 1 and not (tmp_path / "out").exists()
