"""Two readers, blind to each other, then an adjudicator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rarl.errors import ReviewError, SettingError
from rarl.records import checked
from rarl.review import (
    CaseSnapshot,
    FlagFilter,
    Judgement,
    Queue,
    QueueFilter,
    Region,
    ReviewStore,
    open_store,
)

MakeCase = Callable[..., CaseSnapshot]
WRONG = Judgement(0, 1, True, "yes", "A line of the pleura.", seconds=20)
RIGHT = Judgement(3, 3, False, seconds=40)


@pytest.fixture
def flagged(store: ReviewStore, make_case: MakeCase) -> str:
    case_id = store.add_case(make_case())
    store.add_flag(case_id, "sft", "missed-finding", "major", reader="V")
    store.add_flag(case_id, "rl", "style", "none", corrected_answer="Yes", reader="V")
    return case_id


def queue(store: ReviewStore, person: str, study_id: str | None = None) -> Queue:
    role = "adjudicator" if person == "Judge" else "reader"
    return Queue(store.for_person(person, role), study_id)


def test_the_second_reader_is_blind_to_the_first(store: ReviewStore, flagged: str) -> None:
    first, second, judge = (queue(store, name) for name in ("A", "B", "Judge"))
    item = first.next()
    assert item is not None and (item.case_id, item.arm, item.status) == (flagged, "sft", "new")
    given = first.judge(flagged, "sft", WRONG)
    assert first.verdicts(flagged, "sft") == (given,)
    assert second.verdicts(flagged, "sft") == () == judge.verdicts(flagged, "sft")
    assert second.readings() == {} == judge.readings()
    with pytest.raises(ReviewError, match="Two independent readings come first"):
        judge.adjudicate(flagged, "sft", WRONG)
    other = second.judge(flagged, "sft", RIGHT)
    assert first.verdicts(flagged, "sft") == (given, other) == second.verdicts(flagged, "sft")
    # What was seen cannot be unseen.
    with pytest.raises(ReviewError, match="goes to an adjudicator"):
        first.judge(flagged, "sft", RIGHT, replaces=given.key)
    assert judge.items()[0].status == "differs" and judge.settled() == ()
    with pytest.raises(ReviewError, match="You may not adjudicate"):
        first.adjudicate(flagged, "sft", WRONG)
    with pytest.raises(ReviewError, match="somebody else adjudicates"):
        Queue(store.for_person("A", "adjudicator")).adjudicate(flagged, "sft", WRONG)
    judge.adjudicate(flagged, "sft", WRONG)
    (settled,) = judge.settled()
    assert (settled.adjudicated, settled.correctness) == (True, 0)
    assert (settled.corrected_answer, settled.arm) == ("yes", "sft")
    judge.adjudicate(flagged, "sft", Judgement(1, 1))  # thinks better of it: the last one counts
    assert [one.correctness for one in judge.settled()] == [1]
    assert [item.status for item in judge.items()] == ["adjudicated", "new"]


def test_one_person_is_one_reader_however_the_name_is_written(
    store: ReviewStore, flagged: str
) -> None:
    first = queue(store, "Bo").judge(flagged, "sft", WRONG)
    assert first.reader == "bo"
    for written in ("bo", "BO", " bO\u200b", "\uff22\uff4f"):
        with pytest.raises(ReviewError, match="judged this answer already"):
            queue(store, written).judge(flagged, "sft", RIGHT)
    queue(store, "Cy").judge(flagged, "sft", RIGHT)
    with pytest.raises(ReviewError, match="somebody else adjudicates"):
        Queue(store.for_person("BO", "adjudicator")).adjudicate(flagged, "sft", WRONG)
    judge = Queue(store.for_person("di", "adjudicator"))
    assert judge.assign([(flagged, "rl")], "Bo") == 1 and judge.assign([(flagged, "rl")], "bO") == 0
    assert queue(store, "BO").items(QueueFilter(reader="BO"))[0].assigned == ("bo",)


def test_agreement_settles_and_a_flags_correction_counts(store: ReviewStore, flagged: str) -> None:
    for name in ("A", "B"):
        queue(store, name).judge(flagged, "sft", WRONG)
        queue(store, name).judge(flagged, "rl", Judgement(1, 1, comment=name))
    judge = queue(store, "Judge")
    sft, rl = judge.settled()
    assert (sft.adjudicated, sft.corrected_answer) == (False, "yes")
    assert rl.corrected_answer == ""
    judge.adjudicate(flagged, "rl", Judgement(1, 0, agrees=True))
    assert judge.settled()[1].corrected_answer == "Yes"  # the flag's
    assert queue(store, "C").next() is None


def test_corrections_before_the_other_reading(store: ReviewStore, flagged: str) -> None:
    first = queue(store, "A")
    given = first.judge(flagged, "sft", WRONG, key="1" * 32)
    assert first.judge(flagged, "sft", RIGHT, key="1" * 32) == given  # sent twice, stored once
    with pytest.raises(ReviewError, match="judged this answer already"):
        first.judge(flagged, "sft", RIGHT)
    with pytest.raises(ReviewError, match="said yourself"):
        queue(store, "B").judge(flagged, "sft", RIGHT, replaces=given.key)
    better = first.judge(flagged, "sft", RIGHT, replaces=given.key)
    assert first.verdicts(flagged, "sft") == (better,)
    assert first.items()[0].status == "one-reader"
    for scores, seconds, sentence in (
        ((4, 0), None, "each 0, 1, 2 or 3"),
        ((0, -1), None, "each 0, 1, 2 or 3"),
        ((0, 0), -1, "no time"),
    ):
        with pytest.raises(ReviewError, match=sentence):
            checked(Judgement, correctness=scores[0], explanation=scores[1], seconds=seconds)
    with pytest.raises(ReviewError, match="needs a name"):
        Queue(store).judge(flagged, "rl", RIGHT)


def test_assignment_resume_and_progress(store: ReviewStore, flagged: str) -> None:
    judge, first, second = (queue(store, name) for name in ("Judge", "A", "B"))
    assert judge.assign([(flagged, "rl")], "A") == 1
    assert judge.assign([(flagged, "rl")], "A") == 0
    with pytest.raises(ReviewError, match="You may not assign"):
        first.assign([(flagged, "rl")], "A")
    mine = first.next()
    assert mine is not None and mine.arm == "rl"  # what is assigned comes first
    waiting = QueueFilter(waiting=True)
    assert (first.count(waiting), second.count(waiting), second.count()) == (2, 1, 2)
    assert first.item(flagged, "rl") == mine
    with pytest.raises(ReviewError, match="no longer in the queue"):
        first.item(flagged, "rarl")
    assert second.next(after=(flagged, "rl")) == second.next()
    with pytest.raises(ReviewError, match="assigned to others"):
        second.judge(flagged, "rl", RIGHT)
    first.judge(flagged, "rl", RIGHT)
    resumed = first.next()
    assert resumed is not None and resumed.arm == "sft"
    first.judge(flagged, "sft", WRONG)
    assert first.next() is None
    (progress,) = judge.progress()
    assert (progress.reader, progress.assigned, progress.judged, progress.left) == ("a", 1, 2, 0)
    assert progress.seconds == 30
    assert judge.assign([(flagged, "rl")], "A", given=False) == 1
    assert second.judge(flagged, "rl", RIGHT).reader == "b"


@pytest.mark.parametrize(
    ("chosen", "arms"),
    [
        (QueueFilter(), ["sft", "rl"]),
        (QueueFilter(FlagFilter(arm="rl")), ["rl"]),
        (QueueFilter(FlagFilter(severity="major")), ["sft"]),
        (QueueFilter(FlagFilter(text="lungs")), ["sft"]),
        (QueueFilter(FlagFilter(reader="V")), ["sft", "rl"]),
        (QueueFilter(status="one-reader"), ["sft"]),
        (QueueFilter(status="adjudicated"), []),
        (QueueFilter(reader="A"), ["rl"]),
    ],
)
def test_filters(store: ReviewStore, flagged: str, chosen: QueueFilter, arms: list[str]) -> None:
    queue(store, "A").judge(flagged, "sft", WRONG)
    queue(store, "Judge").assign([(flagged, "rl")], "A")
    assert [item.arm for item in Queue(store).items(chosen)] == arms
    assert [item.arm for item in Queue(store).items(chosen, limit=1, offset=1)] == arms[1:2]


def test_flags_are_corrected_and_point_at_things(store: ReviewStore, make_case: MakeCase) -> None:
    case_id = store.add_case(make_case())
    mine = store.for_person("A", "reader")
    flag = mine.add_flag(
        case_id,
        "sft",
        "false-finding",
        "minor",
        sentence="are clear",
        region=Region(0, (1, 2, 9, 9)),
    )
    assert (flag.reader, flag.sentence_start, flag.region) == ("a", 10, Region(0, (1, 2, 9, 9)))
    with pytest.raises(ReviewError, match="not in the reasoning"):
        mine.add_flag(case_id, "sft", "style", "none", sentence="are not clear")
    with pytest.raises(ReviewError, match="not on the picture"):
        mine.add_flag(case_id, "sft", "style", "none", region=Region(0, (1, 2, 31, 9)))
    with pytest.raises(ReviewError, match="said yourself"):
        store.for_person("B", "reader").add_flag(case_id, "sft", "style", "none", replaces=flag.key)
    better = mine.add_flag(case_id, "sft", "style", "none", replaces=flag.key)
    with pytest.raises(ReviewError, match="corrected already"):
        mine.add_flag(case_id, "sft", "style", "none", replaces=flag.key)
    assert store.flags() == (better,) and store.count() == 1
    assert [one.id for one in store.flags_of(case_id, corrected=True)] == [better.id, flag.id]
    assert [(one.values, one.flags) for one in store.counts(["category", "modality"])] == [
        (("style", "CR"), 1)
    ]


def test_votes(store: ReviewStore, make_case: MakeCase) -> None:
    case_id = store.add_case(make_case(blind=True))
    vote = store.add_vote(case_id, "better", "rarl", reason="Clear.", own_answer="no", reader="A")
    tie = store.add_vote(case_id, "tie", reader="A", replaces=vote.key)
    assert store.votes() == (tie,) and store.case(case_id).blind
    for outcome, preferred in (("better", None), ("tie", "sft"), ("better", "base"), ("no", None)):
        with pytest.raises(ReviewError):
            store.add_vote(case_id, outcome, preferred)  # type: ignore[arg-type]


def test_the_audit_names_every_access(store: ReviewStore, make_case: MakeCase) -> None:
    named = store.for_person("Dr. A", "admin")
    case_id = named.add_case(make_case())
    named.add_flag(case_id, "sft", "style", "none")
    named.flags()
    named.case(case_id)
    Queue(named).judge(case_id, "sft", WRONG)
    store.case(case_id)  # the program itself, not a person
    assert [(entry.action, entry.what) for entry in store.audit(case_id, "Dr. A")] == [
        ("write", "case"),
        ("write", "flag"),
        ("list", "flag"),
        ("read", "case"),
        ("write", "verdict"),
    ]
    with pytest.raises(ReviewError, match="You may not manage"):
        store.for_person("Dr. A", "adjudicator").audit()


def test_the_next_case_is_one_row_of_the_audit(store: ReviewStore, make_case: MakeCase) -> None:
    for _ in range(20):
        case_id = store.add_case(make_case())
        store.add_flag(case_id, "sft", "style", "none", reader="V")
    work = queue(store, "A")
    item = work.next()
    assert item is not None
    assert [(entry.action, entry.case_id) for entry in store.audit(person="A")] == [
        ("list", item.case_id)
    ]
    assert work.statuses() == {"new": 20}
    assert len(work.items(limit=5)) == 5
    assert len(store.audit(person="A")) == 1 + 5  # what was shown


def test_deleted_for_good(store: ReviewStore, make_case: MakeCase) -> None:
    case, other = make_case(), make_case()
    for one in (case, other):
        store.add_case(one)
        store.add_flag(one.id, "sft", "style", "none")
        store.add_vote(one.id, "tie")
        queue(store, "A").judge(one.id, "sft", WRONG)
    with pytest.raises(ReviewError, match="You may not delete"):
        store.for_person("A", "adjudicator").delete_case(case.id, "asked for")
    with pytest.raises(ReviewError, match="Say why"):
        store.delete_case(case.id, " ")
    admin = store.for_person("Admin", "admin")
    tombstone = admin.delete_case(case.id, "request under privacy law")
    assert store.tombstones() == (tombstone,) and tombstone.person == "admin"
    with pytest.raises(ReviewError, match="deleted for good"):
        store.case(case.id)
    for again in (
        lambda: store.add_case(case),
        lambda: store.add_flag(case.id, "sft", "style", "none"),
    ):
        with pytest.raises(ReviewError, match="deleted for good"):
            again()
    assert [flag.case_id for flag in store.flags()] == [other.id]
    assert len(store.votes()) == 1 and len(Queue(store).items()) == 1
    assert "delete" in [entry.action for entry in store.audit(case.id)]


def test_nothing_of_a_deleted_case_stays_in_the_file(tmp_path: Path, make_case: MakeCase) -> None:
    store = open_store(home=tmp_path)
    case = make_case("An unmistakable question?")
    store.add_case(case)
    assert case.png is not None
    files = [tmp_path / "review.sqlite3", tmp_path / "review.sqlite3-wal"]

    def held(what: bytes) -> bool:
        return any(what in file.read_bytes() for file in files if file.exists())

    assert held(b"unmistakable") and held(case.png[-200:-20])
    store.delete_case(case.id, "asked for")
    assert not held(b"unmistakable") and not held(case.png[-200:-20])
    store.close()


def test_only_the_hash_where_the_site_wants_no_pixels(
    tmp_path: Path, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_PIXELS", "hash")
    store = open_store(home=tmp_path)
    case = make_case()
    store.add_case(case)
    kept = store.case(case.id)
    assert kept.png is None and kept.sha256 == case.sha256 and kept.width == 30
    with pytest.raises(ReviewError, match="only the hashes"):
        kept.image()
    store.close()
    monkeypatch.setenv("RARL_PIXELS", "maybe")
    with pytest.raises(SettingError, match="RARL_PIXELS"):
        open_store(home=tmp_path)


def test_a_site_may_edit_the_taxonomy(tmp_path: Path, make_case: MakeCase) -> None:
    (tmp_path / "taxonomy.yaml").write_text("categories:\n  artefact: Took an artefact for it\n")
    store = open_store(home=tmp_path)
    case_id = store.add_case(make_case())
    assert store.add_flag(case_id, "sft", "artefact", "none").category == "artefact"
    with pytest.raises(ReviewError, match="Choose what is wrong"):
        store.add_flag(case_id, "sft", "style", "none")
    store.close()
    for bad in ("categories: [a]", "kinds: {}", "categories: {}", "{", "categories: {1: a}"):
        (tmp_path / "taxonomy.yaml").write_text(bad)
        with pytest.raises(ReviewError, match=r"taxonomy\.yaml"):
            open_store(home=tmp_path)
