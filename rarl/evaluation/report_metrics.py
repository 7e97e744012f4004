"""Score a free text, such as a report, against its reference.

BLEU and METEOR are nltk's, ROUGE-L is rouge-score's; where these packages are missing (they are not
required: `pip install nltk rouge-score`) the scores are None. They count words and hardly notice a
negation, so the claim-level scores stand beside them: both texts are read as claims, as in the
reasoning reward (`rarl.rewards.free_text`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

from rarl.rewards.free_text import compare
from rarl.text.normalise import tokens

WORD_METRICS = ("bleu4", "rouge_l", "meteor")
CLAIM_METRICS = ("claim_precision", "claim_recall", "claim_contradicted")
REPORT_METRICS = (*WORD_METRICS, *CLAIM_METRICS)


@dataclass(frozen=True, slots=True)
class ReportScores:
    """Scores of one text, each from 0 to 1.

    Attributes:
        bleu4: BLEU of one to four words for one text, smoothed by a small count (Chen and Cherry,
            WMT 2014, method 1); None without nltk.
        rouge_l: F1 of the longest common subsequence of words, stemmed; None without rouge-score.
        meteor: METEOR by words and stems, without synonyms, since these need a corpus of their own;
            None without nltk.
        claim_precision: share of the text's claims that the reference supports, or None where it
            claims nothing.
        claim_recall: share of the reference's claims that the text states.
        claim_contradicted: share of the reference's claims of which it states the opposite.
    """

    bleu4: float | None
    rouge_l: float | None
    meteor: float | None
    claim_precision: float | None
    claim_recall: float | None
    claim_contradicted: float | None


def has_word_metrics() -> bool:
    """Whether the packages behind `WORD_METRICS` are installed."""
    return all(find_spec(name) is not None for name in ("nltk", "rouge_score", "absl"))


@lru_cache(maxsize=4096)
def score_report(text: str, reference: str) -> ReportScores:
    """Score a text against its reference.

    Raises:
        ModelError: the sentence encoder is missing.

    >>> known = "The heart is normal. There is a left pleural effusion."
    >>> same = score_report(known, known)
    >>> (same.claim_precision, same.claim_recall, same.claim_contradicted)
    (1.0, 1.0, 0.0)
    >>> score_report("There is no pleural effusion.", known).claim_contradicted
    0.5
    """
    comparison = compare(text, reference)
    stated, claims = comparison.stated, comparison.claims
    bleu, rouge, meteor = _by_words(text, reference) if has_word_metrics() else (None, None, None)
    return ReportScores(
        bleu4=bleu,
        rouge_l=rouge,
        meteor=meteor,
        claim_precision=1 - comparison.neutral / stated if stated else None,
        claim_recall=comparison.covered / claims if claims else None,
        claim_contradicted=comparison.contradicted / claims if claims else None,
    )


class _NoSynonyms:
    """A thesaurus without entries, in the place of WordNet."""

    def synsets(self, word: str) -> list[object]:
        return []


def _by_words(text: str, reference: str) -> tuple[float, float, float]:
    # Here, since the packages are optional and slow to import.
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from nltk.translate.meteor_score import single_meteor_score

    words, wanted = tokens(text), tokens(reference)
    if not words or not wanted:
        return 0.0, 0.0, 0.0
    bleu = sentence_bleu([wanted], words, smoothing_function=SmoothingFunction().method1)
    meteor = single_meteor_score(wanted, words, wordnet=_NoSynonyms())
    rouge = _rouge().score(reference, text)["rougeL"].fmeasure
    return float(bleu), float(rouge), float(meteor)


@lru_cache(maxsize=1)
def _rouge():  # type: ignore[no-untyped-def]  # of an optional package
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)
