"""Scores of one answer: the fields of a row that follow from its text."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from math import exp
from typing import Any

from rarl.checks import check_answer, header_facts
from rarl.data.example import Example
from rarl.evaluation.asked import Asked, asked_under
from rarl.evaluation.image_ablations import ROTATED, Condition
from rarl.evaluation.report_metrics import REPORT_METRICS, score_report
from rarl.response import Mode, parse_response
from rarl.rewards.accuracy import explained_credit, is_right, score_answer
from rarl.rewards.reasoning import check_facts
from rarl.text.choice import in_words, read_choice
from rarl.text.normalise import token_f1, tokens

_HEDGE = re.compile(
    r"\b(?:or|versus|vs|either|maybe|perhaps|possibly|probably|may|might|could|unclear|uncertain|"
    r"unsure|not sure|cannot (?:be )?(?:determine|tell|say|assess)\w*|difficult to|unable to|"
    r"indeterminate|alternatively)\b",
    re.IGNORECASE,
)

_ABSTAINS = re.compile(
    r"\b(?:can(?:not|'t| not)|could not|unable to|not (?:possible|able) to|impossible to|"
    r"difficult to)\s+(?:be\s+)?(?:tell|told|determined?|say|said|assess(?:ed)?|see|seen|"
    r"judged?|answer(?:ed)?|identif(?:y|ied))\b|"
    r"\b(?:insufficient|not enough) information\b|\bindeterminate\b",
    re.IGNORECASE,
)


def score(
    text: str,
    mode: Mode,
    example: Example,
    condition: Condition = "scan",
    asked: Asked | None = None,
) -> dict[str, Any]:
    """The parts of a text, their form, and every score that needs no other answer.

    Args:
        text: raw text of the answer.
        mode: inference mode it was asked in.
        example: the question with its reference and annotated facts.
        condition: what it was asked about; facts are checked for the scan alone.
        asked: what was asked; where not given, what seed 0 asks under this condition.

    Returns:
        The fields of `rarl.evaluation.rows.Row` from `reference` to `agrees` but for `text`, those
        of multiple choice, and `checks`.
    """
    response = parse_response(text, mode)
    asked = asked or asked_under(example, condition)
    known = asked.reference if asked else ""
    options = asked.options if asked else ()
    choice = read_choice(response.answer, options) if options else None
    answer = response.answer
    # An answer "B" is held against the words of B.
    words = in_words(answer, options)
    explanation = example.explanation or ""
    about_scan = condition == "scan" or condition in ROTATED
    reasoned = about_scan and mode != "answer" and bool(response.reasoning)
    check = None
    if reasoned:
        facts = json.dumps([asdict(fact) for fact in example.facts])
        check = check_facts(response.reasoning, words, example.question, facts, explanation, known)
    return {
        "reference": known,
        "reasoning": response.reasoning,
        "answer": answer,
        "problems": response.problems,
        "exact": is_right(answer, known, example.question, explanation, options),
        "f1": token_f1(words, known),
        "bleu1": bleu_1(words, known),
        "credit": score_answer(answer, known, example.kind, options)
        if known
        else explained_credit(answer, example.question, explanation),
        "hedged": hedges(answer, known),
        "abstained": not (choice and choice.named) and abstains(answer),
        "lure": asked.lure if asked else "",
        "followed": is_right(answer, asked.lure, "", "", options) if asked and asked.lure else None,
        "options": options,
        "chosen": choice.index if choice else None,
        "ambiguous": bool(choice and choice.ambiguous),
        "position": options.index(known) if known in options else None,
        "facts": check.annotated if check else None,
        "facts_covered": check.covered if check else None,
        "facts_contradicted": check.contradicted if check else None,
        "claims": check.claims if check else None,
        "claims_covered": check.claims_covered if check else None,
        "agrees": not check.disagrees if check and answer else None,
        **_of_report(words, known, example.kind),
        "checks": _checks(example, words, response.reasoning) if about_scan else (),
    }


def _of_report(text: str, reference: str, kind: str) -> dict[str, float | None]:
    if kind != "report" or not reference:
        return dict.fromkeys(REPORT_METRICS)
    return asdict(score_report(text, reference))


def _checks(example: Example, answer: str, reasoning: str) -> tuple[str, ...]:
    """Names of what the app would mark, with the annotation in the place of a file's header."""
    facts = header_facts([(example.modality, {"BodyPartExamined": example.organ or ""})])
    return tuple(
        problem.name
        for problem in check_answer(
            example.question, answer, reasoning, facts, has_options=bool(example.options)
        )
    )


def abstains(answer: str) -> bool:
    """Whether an answer says that the image does not tell.

    >>> abstains("Cannot tell from this image."), abstains("It is not possible to determine this")
    (True, True)
    >>> abstains("no"), abstains("possibly pneumonia")
    (False, False)
    """
    return bool(_ABSTAINS.search(answer))


def bleu_1(answer: str, reference: str) -> float:
    """BLEU of single words for one sentence, over the words of both normal forms.

    Clipped precision times brevity penalty (Papineni et al., ACL 2002), without smoothing; papers
    on medical question answering report its mean over open questions.

    >>> round(bleu_1("left pleural effusion", "pleural effusion"), 3)
    0.667
    >>> round(bleu_1("effusion", "pleural effusion"), 3)
    0.368
    """
    given, wanted = tokens(answer), tokens(reference)
    if not given or not wanted:
        return 0.0
    clipped = (Counter(given) & Counter(wanted)).total()
    brevity = min(1.0, exp(1 - len(wanted) / len(given)))
    return brevity * clipped / len(given)


def hedges(answer: str, reference: str = "") -> bool:
    """Whether an answer leaves itself a way out that the reference does not.

    >>> hedges("pneumonia or edema"), hedges("yes and no"), hedges("no, the lungs are clear")
    (True, True, False)
    >>> hedges("T2 or FLAIR", "t2 or flair")
    False
    """
    words = {hedge.lower() for hedge in _HEDGE.findall(answer)}
    both = {"yes", "no"} <= set(tokens(answer)) and not {"yes", "no"} <= set(tokens(reference))
    return both or bool(words - {hedge.lower() for hedge in _HEDGE.findall(reference)})
