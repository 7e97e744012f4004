"""Reports: begun from an answer, edited by readers, signed, and never written over."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

import rarl.reports.editing
import rarl.reports.prefill
from rarl.errors import ReviewError
from rarl.records import (
    CaseSnapshot,
    MeasuredValue,
    Measurement,
    Picture,
    Report,
    Section,
    Sentence,
)
from rarl.reports import (
    ReportConflict,
    Reports,
    prefilled,
    report_of,
    templates,
    with_deleted,
    with_inserted,
    with_kept,
    with_known,
    with_measurement,
    with_restored,
    with_sentence,
    with_template,
    with_text,
)
from rarl.reports.templates import read_template
from rarl.review import ReviewStore
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import export

MakeCase = Callable[..., CaseSnapshot]
REASONING = "The heart is enlarged. There is no pleural effusion. The view is rotated."
ANSWERS = {"sft": f"<think>{REASONING}</think><answer>no</answer>"}
RULER = Measurement(
    kind="ruler",
    points=((1, 2), (4, 6)),
    values=(MeasuredValue(quantity="length", value=5, unit="px"),),
)


def chest(make_case: MakeCase, **more: str) -> CaseSnapshot:
    case = make_case(modality="DX", **{**ANSWERS, **more})
    known = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    return case.model_copy(update={"attributes": known, "answers": case.answers[:1]})


@pytest.fixture
def case_id(store: ReviewStore, make_case: MakeCase) -> str:
    return store.add_case(chest(make_case))


def reports(store: ReviewStore, person: str = "bo") -> Reports:
    return Reports(store.for_person(person, "reader"))


def texts(report: Report) -> list[str]:
    return [sentence.text for sentence in report.sentences()]


def decided(report: Report) -> Report:
    for sentence in report.undecided():
        report = with_kept(report, sentence.key)
    return report


@pytest.mark.parametrize(
    "module", [rarl.reports.editing, rarl.reports.prefill], ids=["editing", "prefill"]
)
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


# Measurements


def test_a_case_keeps_its_measurements_and_offers_them_to_its_report(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    case = chest(make_case).model_copy(update={"measurements": (RULER,)})
    case_id = store.add_case(case)
    assert store.case(case_id).measurements == (RULER,)
    begun = reports(store).begin(case_id)
    assert begun.measurements == (RULER,) and begun.stated() == ()
    stating = with_measurement(begun, "heart", RULER)
    assert stating.stated() == stating.measurements == (RULER,)
    key = next(one.key for one in stating.sentences() if one.measurement)
    gone = with_deleted(stating, key)
    assert gone.stated() == () and gone.measurements == (RULER,)
    export(store.for_person("di", "admin"), tmp_path / "all.jsonl", "jsonl", None, True)
    home = tmp_path / "other"
    with_all = ReviewStore(f"sqlite:///{home}.sqlite3").for_person("di", "admin")
    import_from(with_all, tmp_path / "all.jsonl")
    assert with_all.case(case_id).measurements == (RULER,)
    with_all.close()


# Changes of the whole


def test_another_template_moves_every_sentence_and_keeps_its_state(
    store: ReviewStore, case_id: str
) -> None:
    begun = reports(store).begin(case_id)
    assert begun.template == "chest-radiograph"
    own = with_inserted(begun, "bones", "No rib is broken.", key="f" * 32)
    edited = with_text(own, own.sections[0].sentences[0].key, "One frontal view.")
    free = with_template(edited, "free")
    assert (free.template, free.title) == ("free", "Imaging report")
    placed = {section.key: [one.text for one in section.sentences] for section in free.sections}
    assert placed["technique"] == ["One frontal view."]
    assert len(placed["findings"]) == 4 and "No rib is broken." in placed["findings"]
    assert {one.key: one for one in free.sentences()} == {
        one.key: one for one in edited.sentences()
    }
    saved = reports(store).save(free)
    back = with_template(saved, "chest-radiograph")
    assert [one.text for one in back.sections[6].sentences] == ["No rib is broken."]
    with pytest.raises(ReviewError, match="no template of this name"):
        with_template(saved, "elbow")


def test_recent_reports_come_with_their_question(store: ReviewStore, make_case: MakeCase) -> None:
    first, second = (store.add_case(chest(make_case)) for _ in range(2))
    earlier = reports(store).begin(first)
    later = reports(store).begin(second)
    changed = reports(store, "ada").save(decided(earlier))
    assert reports(store).recent() == (
        (changed, "Is there a pneumothorax?"),
        (later, "Is there a pneumothorax?"),
    )
    assert reports(store).recent(1) == ((changed, "Is there a pneumothorax?"),)
    with pytest.raises(ReviewError, match="may not write and sign reports"):
        Reports(store.for_person("eve", "visitor")).recent()


def test_measurements_are_offered_once_and_a_sentence_comes_back_as_it_was(
    store: ReviewStore, case_id: str
) -> None:
    begun = reports(store).begin(case_id)
    known = with_known(begun, (RULER, RULER.model_copy(update={"key": "e" * 32})))
    assert [one.key for one in known.measurements] == [RULER.key, "e" * 32]
    assert with_known(known, (RULER,)) == known and known.stated() == ()
    # Drawn anew, it takes the place of what it was, but not of what a sentence says.
    longer = RULER.model_copy(update={"points": ((1, 2), (9, 9))})
    assert with_known(known, (longer,)).measurements[0] == longer
    stating = with_measurement(begun, "heart", RULER)
    assert with_known(stating, (longer,)) == stating
    first = begun.sections[0].sentences[0]
    assert with_sentence(with_deleted(begun, first.key), first) == begun
    with pytest.raises(ReviewError, match="no such sentence"):
        with_sentence(begun, first.model_copy(update={"key": "e" * 32}))


# Templates


def test_the_shipped_templates() -> None:
    assert list(templates()) == [
        "brain-mri", "breast-ultrasound", "chest-radiograph", "knee-radiograph", "free",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("modality", "part", "name"),
    [
        ("CR", "CHEST", "chest-radiograph"),
        ("DX", "knee", "knee-radiograph"),
        ("MR", "BRAIN", "brain-mri"),
        ("US", "BREAST", "breast-ultrasound"),
        ("CT", "CHEST", "free"),
        ("MR", "", "free"),
        (None, "BRAIN", "free"),
    ],
)
def test_the_scan_chooses_the_template(
    make_case: MakeCase, modality: str | None, part: str, name: str
) -> None:
    case = make_case(modality=modality).model_copy(
        update={"attributes": {"BodyPartExamined": part}}
    )
    assert prefilled(case).template == name


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("title: X\nsections: []\n", "sections"),
        ("title: X\nsections: [{key: A, title: A, heading: findings}]\n", "small letters"),
        ("title: X\nsections: [{key: a, title: A, heading: finding}]\n", "must be"),
        ("title: X\nsections: [{key: a, title: A, heading: findings}]\n", "one for the impression"),
        (
            "title: X\nsections: [{key: a, title: A, heading: findings}, "
            "{key: b, title: B, heading: impression, words: [c]}]\n",
            "takes no words",
        ),
        ("- x\n", "mapping"),
    ],
    ids=["empty", "key", "heading", "impression", "words", "list"],
)
def test_a_template_that_cannot_be_used(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(content, "utf-8")
    with pytest.raises(ReviewError, match=sentence):
        read_template(path)


# Prefilling


def test_only_what_the_model_wrote_and_the_file_says(make_case: MakeCase) -> None:
    content = prefilled(chest(make_case))
    told = {section.key: [one.text for one in section.sentences] for section in content.sections}
    assert {key: said for key, said in told.items() if said} == {
        "technique": ["Modality DX, body part CHEST, view PA."],
        "pleura": ["There is no pleural effusion."],
        "heart": ["The heart is enlarged."],
        "findings": ["The view is rotated."],
        "impression": ["Is there a pneumothorax? Answer: no"],
    }
    assert {one.state for one in content.sentences()} == {"proposed"}
    assert [one.origin for one in content.sentences()] == ["header", *["ai"] * 4]
    assert all(one.text == one.proposed for one in content.sentences())
    assert (content.arm, content.label, content.revision) == ("sft", "SFT", "aaaaaaaaaaaa")


def test_an_answer_in_sentences_is_the_impression_itself(make_case: MakeCase) -> None:
    case = chest(make_case, sft="<answer>The heart is large. Nothing else is seen.</answer>")
    impression = prefilled(case).sections[-1]
    assert [one.text for one in impression.sentences] == [
        "The heart is large.", "Nothing else is seen.",
    ]  # fmt: skip
    assert not [one for one in prefilled(case, "free").sections[2].sentences]


def test_a_prior_is_named(make_case: MakeCase) -> None:
    case = chest(make_case)
    picture: Picture = case.pictures[0].model_copy(update={"name": "prior"})
    compared = prefilled(case.model_copy(update={"pictures": (*case.pictures, picture)}))
    assert compared.sections[1].sentences[0].text == "Compared with a prior picture."


def test_what_is_not_there_cannot_be_chosen(make_case: MakeCase) -> None:
    with pytest.raises(ReviewError, match="no template"):
        prefilled(chest(make_case), "elbow")
    with pytest.raises(ReviewError, match="choose from sft"):
        prefilled(chest(make_case), arm="rarl")


def test_text_without_end_is_kept_whole(make_case: MakeCase) -> None:
    content = prefilled(chest(make_case, sft=f"<think>{'wide ' * 1000}</think><answer>no</answer>"))
    general = next(one for one in content.sections if one.key == "findings")
    assert sum(one.text.count("wide") for one in general.sentences) == 1000


# Editing


def test_each_edit_keeps_what_was_proposed(make_case: MakeCase) -> None:
    content = prefilled(chest(make_case))
    technique, pleura, heart, other, impression = (one.key for one in content.sentences())
    content = with_kept(content, technique)
    content = with_text(content, heart, "  The heart is normal. ")
    content = with_deleted(content, other)
    content = with_text(content, pleura, "There is no pleural effusion.")
    content = with_deleted(content, impression)
    content = with_restored(content, impression)
    content = with_inserted(content, "heart", "The aorta is calcified.", after=heart)
    states = {one.key: (one.state, one.text) for one in content.sentences()}
    assert states[technique][0] == states[pleura][0] == states[impression][0] == "kept"
    assert states[heart] == ("edited", "The heart is normal.")
    assert states[other][0] == "deleted"
    proposed = [one.proposed for one in content.sentences() if one.origin != "reader"]
    assert proposed == [one.text for one in prefilled(chest(make_case)).sentences()]
    (own,) = (one for one in content.sentences() if one.origin == "reader")
    assert (own.state, own.proposed) == ("kept", "")
    section = next(one for one in content.sections if one.key == "heart")
    assert section.sentences[1] == own and not content.undecided()
    assert with_text(content, heart, "The heart is enlarged.").undecided() == ()
    assert with_text(content, own.key, "Calcified aorta.").sentences()[3].state == "kept"


def test_a_measurement_is_inserted_once(make_case: MakeCase) -> None:
    content = with_measurement(prefilled(chest(make_case)), "heart", RULER)
    assert content.measurements == (RULER,)
    (own,) = (one for one in content.sentences() if one.measurement)
    assert own.text == "Ruler, slice 1: length 5.0 pixels." and own.measurement == RULER.key


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one: with_kept(one, "f" * 32), "no such sentence"),
        (lambda one: with_text(one, one.sentences()[0].key, " "), "has a text"),
        (lambda one: with_text(one, one.sentences()[0].key, "x" * 2001), "shorten it"),
        (lambda one: with_inserted(one, "elbow", "x"), "no such section"),
        (lambda one: with_inserted(one, "heart", "x", after="f" * 32), "no such sentence"),
        (lambda one: with_inserted(one, "heart", "\0"), "has a text"),
    ],
    ids=["unknown", "empty", "long", "section", "after", "nothing"],
)
def test_an_edit_that_cannot_be_made(
    make_case: MakeCase, change: Callable[[object], object], sentence: str
) -> None:
    with pytest.raises(ReviewError, match=sentence):
        change(prefilled(chest(make_case)))


# The records


@pytest.mark.parametrize(
    ("record", "values", "sentence"),
    [
        (Sentence, {"origin": "ai", "state": "kept", "text": "a"}, "that was proposed"),
        (
            Sentence,
            {"origin": "ai", "state": "kept", "text": "a", "proposed": "b"},
            "is edited",
        ),
        (Sentence, {"origin": "reader", "state": "edited", "text": "a"}, "proposes nothing"),
        (Sentence, {"origin": "ai", "state": "new", "text": "a"}, "state is not usable"),
        (Sentence, {"origin": "x", "state": "kept", "text": "a"}, "origin is not usable"),
        (
            Sentence,
            {"key": "x", "origin": "reader", "state": "kept", "text": "a"},
            "32 hex digits",
        ),
        (Section, {"key": "A b", "title": "A", "heading": "findings"}, "key is not usable"),
        (Section, {"key": "a", "title": "", "heading": "findings"}, "title is not usable"),
        (Measurement, {**RULER.plain(), "points": [[1, 2]]}, "has 2 points"),
        (Measurement, {**RULER.plain(), "values": []}, "values is not usable"),
        (Measurement, {**RULER.plain(), "slice": -1}, "slice is not usable"),
        (MeasuredValue, {"quantity": "area", "value": 1, "unit": "mm"}, "not measured in mm"),
        (MeasuredValue, {"quantity": "area", "value": "inf", "unit": "mm2"}, "value is not usable"),
    ],
    ids=[
        "no-proposal", "unedited", "reader-edited", "state", "origin", "key", "section", "title",
        "points", "values", "slice", "unit", "infinite",
    ],
)  # fmt: skip
def test_what_no_record_takes(
    record: type[Sentence], values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ReviewError, match=sentence):
        record.checked(**values)


def test_a_report_that_does_not_fit_together(store: ReviewStore, case_id: str) -> None:
    sent = reports(store).begin(case_id).plain()
    twice = {**sent, "sections": [*sent["sections"], sent["sections"][0]]}
    with pytest.raises(ReviewError, match="one key"):
        report_of(twice)
    unknown = reports(store).begin(case_id).plain()
    unknown["sections"][0]["sentences"][0]["measurement"] = "f" * 32
    with pytest.raises(ReviewError, match="does not hold"):
        report_of(unknown)
    for given in ([], "x", None):
        with pytest.raises(ReviewError, match="is an object"):
            report_of(given)
    with pytest.raises(ReviewError, match="sections is not usable"):
        report_of({**sent, "sections": "x"})


# The store


def test_begun_saved_and_signed(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    assert (begun.version, begun.reader, begun.signed) == (1, "bo", False)
    saved = reports(store, "ada").save(with_deleted(begun, begun.sentences()[1].key))
    assert (saved.version, saved.reader, saved.id) == (2, "ada", begun.id)
    signed = reports(store).sign(decided(saved))
    assert (signed.version, signed.reader, signed.signed) == (3, "bo", True)
    assert reports(store).of_case(case_id) == (signed,)
    assert reports(store).versions(begun.id) == (begun, saved, signed)
    assert reports(store).report(begun.id, 1) == begun
    assert report_of(signed.plain()) == signed
    with pytest.raises(ReviewError, match="is signed"):
        reports(store).save(with_deleted(signed, signed.sentences()[0].key))


def test_nothing_is_signed_unread(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    with pytest.raises(ReviewError, match="5 sentences are still as proposed"):
        reports(store).sign(begun)
    last = decided(begun)
    last = last.model_copy(update={"sections": (begun.sections[0], *last.sections[1:])})
    with pytest.raises(ReviewError, match="1 sentence is still as proposed"):
        reports(store).sign(last)
    nobody = Reports(store.for_person(None, "admin"))
    with pytest.raises(ReviewError, match="Nobody is signed in"):
        nobody.sign(decided(begun))


def test_the_second_of_two_editors_is_told_and_loses_nothing(
    store: ReviewStore, case_id: str
) -> None:
    begun = reports(store).begin(case_id)
    theirs = reports(store, "ada").save(with_inserted(begun, "heart", "Ada's."))
    mine = with_inserted(begun, "heart", "Bo's.")
    with pytest.raises(ReportConflict, match="ada saved this report while you wrote") as refused:
        reports(store).save(mine)
    assert refused.value.newest == theirs
    copy = reports(store).copy(mine)
    assert "Bo's." in texts(copy) and copy.version == 1 and copy.id != begun.id
    assert reports(store).of_case(case_id) == (copy, theirs)
    reports(store, "ada").sign(decided(theirs))
    with pytest.raises(ReportConflict, match="ada signed this report"):
        reports(store).sign(decided(mine))


def test_of_two_saves_at_once_one_is_told(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    together = Barrier(2)

    def save(person: str) -> Report | ReportConflict:
        together.wait()
        try:
            return reports(store, person).save(with_inserted(begun, "heart", f"{person}'s."))
        except ReportConflict as conflict:
            return conflict

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(save, ("ada", "bo")))
    (saved,) = (end for end in ends if isinstance(end, Report))
    (refused,) = (end for end in ends if isinstance(end, ReportConflict))
    assert refused.newest == saved and saved.version == 2
    assert len(reports(store).versions(begun.id)) == 2


def test_a_save_that_is_sent_again_is_stored_once(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    changed = with_inserted(begun, "heart", "Own.")
    saved = reports(store).save(changed)
    assert reports(store).save(changed) == saved
    assert reports(store).save(saved) == saved
    signed = reports(store).sign(decided(saved))
    assert reports(store).sign(decided(saved)) == signed and signed.version == 3


def test_a_proposal_cannot_be_left_out_or_changed(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    sent = begun.plain()
    sent["sections"][-1]["sentences"] = []
    changed = begun.plain()
    changed["sections"][-1]["sentences"][0] |= {"proposed": "Other.", "text": "Other."}
    renamed = {**begun.plain(), "arm": "rl"}
    for given in (sent, changed, renamed):
        for keep in (reports(store).save, reports(store).copy):
            with pytest.raises(ReviewError, match="missing or changed"):
                keep(report_of(given))
    assert len(reports(store).versions(begun.id)) == 1


def test_a_signed_report_is_amended_beside_it(store: ReviewStore, case_id: str) -> None:
    signed = reports(store).sign(decided(reports(store).begin(case_id)))
    amending = reports(store, "ada").amend(signed.id)
    assert amending.amends == signed.id and not amending.signed
    again = reports(store, "ada").sign(with_inserted(amending, "heart", "Corrected."))
    assert again.amends == signed.id and reports(store).report(signed.id) == signed
    with pytest.raises(ReviewError, match="Only a signed report"):
        reports(store).amend(reports(store).begin(case_id).id)


def test_who_may_not_and_what_is_not_there(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    visitor = Reports(store.for_person("eve", "visitor"))
    for work in (
        lambda: visitor.begin(case_id),
        lambda: visitor.of_case(case_id),
        lambda: visitor.report(begun.id),
        lambda: visitor.save(begun),
        lambda: visitor.sign(decided(begun)),
        lambda: visitor.copy(begun),
        lambda: visitor.amend(begun.id),
    ):
        with pytest.raises(ReviewError, match="may not write and sign reports"):
            work()
    with pytest.raises(ReviewError, match="no such report"):
        reports(store).report("f" * 32)
    with pytest.raises(ReviewError, match="no such report"):
        reports(store).save(begun.model_copy(update={"id": "f" * 32}))
    with pytest.raises(ReviewError, match="no such case"):
        reports(store).begin("f" * 32)
    assert reports(store).of_case("f" * 32) == ()


def test_the_audit_and_the_database_keep_every_version(store: ReviewStore, case_id: str) -> None:
    reports(store).save(with_inserted(reports(store).begin(case_id), "heart", "Own."))
    entries = [(one.person, one.action, one.what, one.case_id) for one in store.audit()]
    assert entries.count(("bo", "write", "report", case_id)) == 2
    for statement in ("UPDATE reports SET version = 9", "DELETE FROM reports"):
        with pytest.raises((ReviewError, DatabaseError)), store.writing() as session:
            session.execute(text(statement))
    store.delete_case(case_id, "request")
    with store.reading() as session:
        assert session.scalar(text("SELECT COUNT(*) FROM reports")) == 0


def test_an_export_brings_reports_back(store: ReviewStore, case_id: str, tmp_path: Path) -> None:
    begun = reports(store).begin(case_id)
    signed = reports(store).sign(decided(with_measurement(begun, "heart", RULER)))
    export(store, tmp_path / "all.jsonl", "jsonl", names=True)
    other = ReviewStore(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert import_from(other, tmp_path / "all.jsonl")["reports"] == 2
    assert import_from(other, tmp_path / "all.jsonl")["reports"] == 0
    assert reports(other).of_case(case_id) == (signed,)
    other.close()
    export(store, tmp_path / "pseudonyms.jsonl", "jsonl")
    assert '"reader":"bo"' not in (tmp_path / "pseudonyms.jsonl").read_text().replace(" ", "")


def test_a_damaged_report_is_named(store: ReviewStore, case_id: str) -> None:
    begun = reports(store).begin(case_id)
    with store.writing() as session:
        session.execute(
            text(
                "INSERT INTO reports (key, case_id, report_id, version, content, created, signed) "
                "SELECT :key, case_id, report_id, 2, '{}', created, signed FROM reports"
            ),
            {"key": "e" * 32},
        )
    with pytest.raises(ReviewError, match="damaged in the review store"):
        reports(store).report(begun.id)
