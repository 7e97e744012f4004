"""Score a free text, such as a report, against its reference.

BLEU and METEOR are nltk's, ROUGE-L is that of torchmetrics, which gives what rouge-score gives.
They count words and hardly notice a negation, so the claim-level scores stand beside them: both
texts are read as claims, as in the reasoning reward (`rarl.rewards.free_text`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
            WMT 2014, method 1).
        rouge_l: F1 of the longest common subsequence of words, stemmed.
        meteor: METEOR by words and stems, without synonyms, since these need a corpus of their own.
        claim_precision: share of the text's claims that the reference supports, or None where it
            claims nothing.
        claim_recall: share of the reference's claims that the text states.
        claim_contradicted: share of the reference's claims of which it states the opposite.
    """

    bleu4: float
    rouge_l: float
    meteor: float
    claim_precision: float | None
    claim_recall: float | None
    claim_contradicted: float | None


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
    bleu, rouge, meteor = _by_words(text, reference)
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
    # Here, since they are slow to import, and few runs have reports.
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from nltk.translate.meteor_score import single_meteor_score
    from torchmetrics.functional.text.rouge import rouge_score

    words, wanted = tokens(text), tokens(reference)
    if not words or not wanted:
        return 0.0, 0.0, 0.0
    bleu = sentence_bleu([wanted], words, smoothing_function=SmoothingFunction().method1)
    meteor = single_meteor_score(wanted, words, wordnet=_NoSynonyms())
    rouge = rouge_score(text, reference, rouge_keys="rougeL", use_stemmer=True)
    return float(bleu), float(rouge["rougeL_fmeasure"]), float(meteor)
