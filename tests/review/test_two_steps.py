"""A reader answers before and after the advice, part of which is wrong on purpose."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rarl.errors import ReviewError
from rarl.review import CaseSnapshot, Judgement, Queue, Region, ReviewStore, open_store
from rarl.review.conditions import CONDITIONS, Condition
from rarl.review.privacy import Pseudonyms
from rarl.review.reliance import Reliance, reliance
from rarl.review.studies import Studies
from rarl.review.summary import overview
from rarl.review.training_rows import preference_pairs, review_examples
from rarl.review.transfer.writer import export
from rarl.review.worth import record_measures
from rarl.review.wrong_advice import Source, WrongAdvice, choose
from rarl.stats.reliance import Figure

MakeCase = Callable[..., CaseSnapshot]


def settle(store: ReviewStore, case: CaseSnapshot, answer: str) -> None:
    """Two readers and an adjudicator say what is right of the variant's answer."""
    for name, explanation in (("x", 3), ("y", 2)):
        Queue(store.for_person(name, "reader")).judge(case.id, "rarl", Judgement(0, explanation))
    Queue(store.for_person("judge", "admin")).adjudicate(
        case.id, "rarl", Judgement(0, 3, corrected_answer=answer)
    )


def filled(store: ReviewStore, make_case: MakeCase, count: int = 8) -> list[CaseSnapshot]:
    """Settled cases: half are yes, half no, and each variant says either."""
    cases = [
        make_case(f"Question {number}?", pixel_seed=number, modality="CT" if number < 4 else "CR")
        for number in range(count)
    ]
    for number, case in enumerate(cases):
        store.add_case(case)
        settle(store, case, "yes" if number % 2 else "no")
    return cases


def test_two_steps_from_consent_to_debriefing(store: ReviewStore, make_case: MakeCase) -> None:
    filled(store, make_case)
    owner = Studies(store.for_person("judge", "admin"))
    study = owner.draw_study(
        "Trust", ["a", "b"], seed=3, arms=["rarl"], conditions=["read-first/answer-only"],
        wrong=WrongAdvice(0.25), consent="Some advice is wrong.", marks_region=True,
    )  # fmt: skip
    assert (study.wrong_share, study.consent, study.marks_region) == (
        0.25, "Some advice is wrong.", True,
    )  # fmt: skip
    reader = Studies(store.for_person("A", "reader"))
    with pytest.raises(ReviewError, match="agree before you begin"):
        reader.next(study.id)
    with pytest.raises(ReviewError, match="Agree to the text"):
        reader.enrol(study.id, "trainee", agrees=False)
    assert reader.enrolment(study.id) is None
    enrolled = reader.enrol(study.id, "trainee", agrees=True)
    assert (
        reader.enrol(study.id, "specialist", agrees=True) == enrolled == reader.enrolment(study.id)
    )
    place = Region(0, (1, 2, 9, 9))
    for position in range(8):
        view = reader.next(study.id)
        assert view is not None and (view.position, view.step) == (position, "first")
        assert view.answer is None and view.reasoning is None and not view.heat_map
        with pytest.raises(ReviewError, match="Commit your own answer first"):
            reader.respond(study.id, position, "no")
        with pytest.raises(ReviewError, match="not on the picture"):
            reader.commit_first(study.id, position, "no", region=Region(0, (0, 0, 99, 9)))
        first = reader.commit_first(
            study.id, position, "no", confidence=80, region=place, seconds=9, key="0" * 31 + str(
                position
            ),
        )  # fmt: skip
        assert first == reader.commit_first(study.id, position, "other", key=first.key)
        with pytest.raises(ReviewError, match="kept already"):
            reader.commit_first(study.id, position, "yes")
        view = reader.next(study.id)
        assert view is not None and (view.position, view.step) == (position, "final")
        assert view.first == first and view.answer is not None and view.reasoning is None
        if position == 7:
            with pytest.raises(ReviewError, match="once you have answered every case"):
                reader.debrief(study.id)
        reader.respond(study.id, position, view.answer, confidence=60, seconds=2, region=place)
    assert reader.next(study.id) is None

    debriefed = reader.debrief(study.id)
    wrong = [one for one in debriefed if one.wrong_on_purpose]
    assert len(debriefed) == 8 and len(wrong) == 2
    assert all(one.advice != one.reference and one.first == "no" for one in wrong)
    assert all(one.final == one.advice and one.picture is not None for one in debriefed)
    with pytest.raises(ReviewError, match="do not take part"):
        Studies(store.for_person("z", "reader")).debrief(study.id)

    readings = owner.readings(study.id)
    assert {one.seconds for one in readings} == {11}
    assert {one.experience for one in readings} == {"trainee"}
    assert sum(one.wrong_on_purpose is not None for one in readings) == 2
    table = io.StringIO()
    owner.export_csv(study.id, table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert {row["first_answer"] for row in rows} == {"no"} and rows[0]["region"] == "0 1 2 9 9"
    with store.reading() as session:
        assert {row["reader"] for row in rows} == {Pseudonyms.of(session).of_name("a")}
    # Whoever withdraws leaves the study and what it shows.
    reader.withdraw(study.id)
    assert owner.readings(study.id) == ()
    with pytest.raises(ReviewError, match="You have withdrawn"):
        reader.next(study.id)


def test_wrong_advice_is_seeded_stratified_and_balanced(
    store: ReviewStore, make_case: MakeCase
) -> None:
    cases = filled(store, make_case)
    owner = Studies(store.for_person("judge", "admin"))

    def drawn(seed: int) -> list[tuple[str, str, bool]]:
        study = owner.draw_study(
            "Trust", list("abcd"), seed=seed, arms=["rarl"], wrong=WrongAdvice(0.5, ("flip",)),
            conditions=["answer-only", "no-ai"],
        )  # fmt: skip
        with_advice = set()
        for name in "abcd":
            reader = Studies(store.for_person(name, "reader"))
            for _ in range(8):
                view = reader.next(study.id)
                assert view is not None
                reader.respond(study.id, view.position, "no")
        for one in owner.readings(study.id):
            if one.wrong_on_purpose:
                with_advice.add((one.task.reader, one.task.case_id))
                assert one.reference is not None and one.advice != one.reference
        tasks = owner.tasks(study.id)
        return [
            (task.reader, task.case_id, (task.reader, task.case_id) in with_advice)
            for task in tasks
            if task.condition != "no-ai"
        ]

    found = drawn(1)
    assert found == drawn(1) and found != drawn(2)
    assert len(found) == 16
    assert set(Counter(reader for reader, _, wrong in found if wrong).values()) == {2}
    # Each case is shown with wrong advice to some readers and without to others.
    seen = Counter(case_id for _, case_id, wrong in found if wrong)
    assert max(seen.values()) <= 2 and set(seen) <= {case.id for case in cases}
    with pytest.raises(ReviewError, match="Wrong advice can be made for 0 of 8"):
        owner.draw_study(
            "None", ["a"], seed=1, arms=["rarl"], wrong=WrongAdvice(0.5, ("sample",)),
            conditions=["answer-only"],
        )  # fmt: skip


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_each_stratum_gets_its_share(share: float) -> None:
    tasks = [(number, number % 4) for number in range(80)]
    chosen = choose(tasks, share, 0.3, set(range(80)))
    counts = Counter(number % 4 for number in chosen)
    assert all(abs(counts[stratum] - 20 * share) <= 1 for stratum in range(4))
    # What cannot be wrong hands its turn on, and the number stays.
    assert len(choose(tasks, share, 0.3, set(range(1, 80, 2)))) == len(chosen)


def test_the_sources_of_wrong_advice(store: ReviewStore, make_case: MakeCase) -> None:
    case = make_case(
        "Which side?",
        rarl="<think>R.</think><answer>right</answer>",
        rl="<answer>left</answer>",
        sft="<think>L.</think><answer>left</answer>",
    )
    store.add_case(case)
    settle(store, case, "right")
    owner = Studies(store.for_person("judge", "admin"))
    record_measures(
        store,
        (case.id, "rl"),
        {"consistency": 0.5},
        # The first is right, and no advice to mislead with.
        ["<answer>right</answer>", "<think>Both.</think><answer>none</answer>"],
    )
    given = {case.id: ["<answer>neither</answer>"]}

    def shown(
        condition: Condition, *sources: Source, samples: dict[str, list[str]] | None = None
    ) -> tuple[str | None, str | None]:
        study = owner.draw_study(
            "One", ["a"], seed=1, arms=["rarl"], conditions=[condition],
            wrong=WrongAdvice(0.99, sources, samples), cases=[case.id],
        )  # fmt: skip
        reader = Studies(store.for_person("a", "reader"))
        view = reader.next(study.id)
        assert view is not None
        return view.answer, view.reasoning

    assert shown("answer-only", "flip") == ("left", None)
    assert shown("answer-only", "sample") == ("none", None)
    assert shown("full-reasoning", "sample") == ("none", "Both.")
    assert shown("answer-only", "sample", samples=given) == ("neither", None)
    # Reasoning is not made up: it is what another variant has said for the same answer.
    assert shown("full-reasoning", "flip") == ("left", "L.")
    assert shown("full-reasoning", "variant") == ("left", "L.")
    with pytest.raises(ReviewError, match="between 0 and 1"):
        WrongAdvice(0)
    with pytest.raises(ReviewError, match="choose of these"):
        WrongAdvice(0.5, ())


def test_wrong_advice_stays_out_of_everything_else(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    cases = filled(store, make_case)
    before = (
        [(one.chosen, one.rejected) for one in preference_pairs(store, [])],
        [(row.id, row.answer, row.explanation) for row in review_examples(store, [])],
        Queue(store).settled(),
        [store.case(case.id) for case in cases],
    )
    owner = Studies(store.for_person("judge", "admin"))
    owner.draw_study(
        "Trust", ["a"], seed=1, arms=["rarl"], conditions=["answer-only"],
        wrong=WrongAdvice(0.5),
    )  # fmt: skip
    assert before == (
        [(one.chosen, one.rejected) for one in preference_pairs(store, [])],
        [(row.id, row.answer, row.explanation) for row in review_examples(store, [])],
        Queue(store).settled(),
        [store.case(case.id) for case in cases],
    )
    assert store.count() == 0
    counts = export(store, tmp_path / "all.jsonl", "jsonl")
    assert counts["advice"] == 4 and counts["flags"] == 0


def test_who_withdraws_trains_nothing(store: ReviewStore, make_case: MakeCase) -> None:
    for number in range(6):  # one picture in five is held out
        case = make_case(pixel_seed=number, blind=True)
        store.add_case(case)
        store.add_vote(case.id, "better", "rarl", reader="v")
        settle(store, case, "yes")
    # An adjudicator's correction stays where a reader of the case withdraws.
    assert {one.source for one in preference_pairs(store, [])} >= {"vote"}
    corrections = review_examples(store, [])
    owner = Studies(store.for_person("judge", "admin"))
    owner.withdraw(reader="v")
    assert "vote" not in {one.source for one in preference_pairs(store, [])}
    assert review_examples(store, []) == corrections
    owner.withdraw()
    assert review_examples(store, []) == []


def test_the_site_may_ask_for_consent(tmp_path: Path, make_case: MakeCase) -> None:
    (tmp_path / "consent.txt").write_text("Of the hospital.\n", "utf-8")
    store = open_store(home=tmp_path)
    store.add_case(make_case())
    owner = Studies(store.for_person("judge", "admin"))
    study = owner.draw_study("S", ["a"], seed=1, arms=["rarl"], consent="Of the study.")
    assert study.consent == "Of the hospital.\n\nOf the study."
    (tmp_path / "consent.txt").write_bytes(b"\xff")
    with pytest.raises(ReviewError, match=r"consent\.txt"):
        open_store(home=tmp_path)
    store.close()


def test_time_being_up_ends_a_study_with_its_debriefing(
    store: ReviewStore, make_case: MakeCase
) -> None:
    filled(store, make_case, 2)
    owner = Studies(store.for_person("judge", "admin"))
    study = owner.draw_study(
        "Late", ["a"], seed=1, arms=["rarl"], conditions=CONDITIONS[-1:],
        deadline=datetime.now(UTC) - timedelta(1),
    )  # fmt: skip
    reader = Studies(store.for_person("a", "reader"))
    assert [(one.first, one.final) for one in reader.debrief(study.id)] == [(None, None)] * 2
    with pytest.raises(ReviewError, match="deadline"):
        reader.commit_first(study.id, 0, "no")


def test_a_heat_map_is_drawn_only_where_it_is_shown(
    store: ReviewStore, make_case: MakeCase
) -> None:
    filled(store, make_case, 2)
    owner = Studies(store.for_person("judge", "admin"))
    study = owner.draw_study(
        "Maps", ["a"], seed=1, arms=["rarl"], conditions=["read-first/answer-only+heat-map"],
        wrong=WrongAdvice(0.5, ("flip",)),
    )  # fmt: skip
    reader = Studies(store.for_person("a", "reader"))
    wrong = []
    for position in range(2):
        with pytest.raises(ReviewError, match="no heat map"):
            reader.shown_advice(study.id, position)
        reader.commit_first(study.id, position, "no")
        view = reader.next(study.id)
        assert view is not None and view.heat_map
        shown = reader.shown_advice(study.id, position)
        assert shown.arm == "rarl" and shown.case.question == view.question
        assert shown.wrong is None or shown.wrong.answer == view.answer
        wrong.append(shown.wrong is not None)
        reader.respond(study.id, position, "no")
    assert sorted(wrong) == [False, True]


def test_what_a_study_says_of_reliance(store: ReviewStore, make_case: MakeCase) -> None:
    filled(store, make_case)
    owner = Studies(store.for_person("judge", "admin"))
    study = owner.draw_study(
        "Trust", ["a", "b"], seed=3, arms=["rarl"], conditions=["read-first/answer-only"],
        wrong=WrongAdvice(0.5),
    )  # fmt: skip
    for name, follows in (("a", True), ("b", False)):
        reader = Studies(store.for_person(name, "reader"))
        reader.enrol(study.id, "trainee" if follows else "specialist", agrees=True)
        for position in range(8):
            view = reader.next(study.id)
            assert view is not None
            own = "yes" if int(view.question[9]) % 2 else "no"
            reader.commit_first(study.id, position, own, seconds=5)
            view = reader.next(study.id)
            assert view is not None and view.answer is not None
            reader.respond(study.id, position, view.answer if follows else own, seconds=5)
    everybody, specialists, trainees = reliance(owner, study.id)
    assert [one.group for one in (everybody, specialists, trainees)] == [
        "", "specialist", "trainee",
    ]  # fmt: skip

    def value(of: Reliance, name: Figure) -> float | None:
        found = of.figures[name]
        return None if found is None else found.value

    # Advice is wrong on purpose in half the tasks, and by itself where the variant errs.
    assert value(everybody, "accuracy_before") == 1 and value(everybody, "rair") is None
    assert value(trainees, "rsr") == 0 and value(specialists, "rsr") == 1
    assert value(trainees, "automation_bias") == 1 and value(specialists, "automation_bias") == 0
    rsr = everybody.figures["rsr"]
    assert rsr is not None and rsr.low is not None and rsr.readers == 2
    (reliance_shown,) = [one["reliance"] for one in overview(store)["studies"]]
    assert reliance_shown[0]["figures"]["rsr"]["value"] == rsr.value
