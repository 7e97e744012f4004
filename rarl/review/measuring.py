"""Measure of stored answers what says how much they are worth judging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from rarl.inference.engine import Engine, NamedImage, Question
from rarl.inference.self_consistency import sample_answers
from rarl.records import CaseSnapshot
from rarl.response import MODES, Mode
from rarl.review.queue import Queue
from rarl.review.store import ReviewStore
from rarl.review.worth import record_measures, sampled_items
from rarl.text.normalise import exact_match

_GREY = (127, 127, 127)


def measure(
    store: ReviewStore,
    engine: Engine,
    limit: int,
    study_id: str | None = None,
    watch: Callable[[int], None] | None = None,
) -> int:
    """Measure answers of a queue that were not measured before, the first of the list first.

    Each is sampled several times, and asked once with grey in place of its pictures. The samples
    are kept, since a study can show them as wrong advice. Answers of variants that the engine does
    not offer, and cases whose pixels are not kept, are left out.

    Args:
        store: with a person who may assign work.
        engine: the model that gave the answers.
        limit: at most so many.
        study_id: of an audit; the flagged answers where not given.
        watch: gets how many are done.

    Returns:
        How many were measured.

    Raises:
        ReviewError: the person may not, or the database fails.
        QuestionError: the engine does not answer.
    """
    store.need("assign")
    offered = {arm.name for arm in engine.arms}
    with store.reading() as session:
        known = sampled_items(session)
    done = 0
    for item in Queue(store, study_id).places():
        if done >= limit:
            break
        if item in known or item[1] not in offered:
            continue
        question = _question(store.case(item[0]), item[1])
        if question is None:
            continue
        stored = next(answer for answer in store.case(item[0]).answers if answer.arm == item[1])
        sampled = sample_answers(engine, question, item[1])
        grey = tuple(
            NamedImage(Image.new("RGB", named.image.size, _GREY), named.name)
            for named in question.images
        )
        likeliest = replace(question.decoding, temperature=0.0)
        ((blind,),) = engine.answer_batch([replace(question, images=grey, decoding=likeliest)])
        same = exact_match(blind.response.answer, stored.answer)
        record_measures(
            store,
            item,
            {
                "consistency": sampled.consistency(stored.answer),
                "needs-picture": 0.0 if same else 1.0,
            },
            [sample.response.text for sample in sampled.answers],
        )
        done += 1
        if watch is not None:
            watch(done)
    return done


def _question(case: CaseSnapshot, arm: str) -> Question | None:
    """The question as it was asked; None where its pixels are not kept."""
    if any(picture.png is None for picture in case.pictures):
        return None
    mode: Mode = next((mode for mode in MODES if mode == case.mode), "reason")
    images = tuple(NamedImage(picture.image(), picture.name) for picture in case.pictures)
    return Question(images, case.question, (arm,), mode=mode, decoding=case.decoding)
