"""Write a facts label as an Applied Model Card of the Coalition for Health AI.

The elements, their order and the forms of the values are those of its schema v0.2
(https://mc.chai.org/v0.2/schema.xsd). What this project does not know is said to be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from rarl import __version__
from rarl.facts.label import NOT_MEASURED, NOT_RECORDED, Facts
from rarl.facts.measured import KIND_WORDS, Measured

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"

_UNKNOWN = "Unknown."
_PAPER = "arXiv 2506.06600"


def applied_model_card(facts: Facts) -> str:
    """The card, XML with its declaration.

    >>> from rarl.facts.label import facts_of
    >>> from rarl.models.making import Making
    >>> facts = facts_of("pocket", "sft", "SFT", "0" * 12, Making(), Making(), "reason")
    >>> "<ModelName>pocket, SFT</ModelName>" in applied_model_card(facts)
    True
    """
    ET.register_namespace("", NAMESPACE)
    card = ET.Element(f"{{{NAMESPACE}}}AppliedModelCard")
    for name, content in _sections(facts):
        _append(card, name, content)
    ET.indent(card)
    text = ET.tostring(card, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _append(parent: ET.Element, name: str, content: object) -> None:
    """Add an element with its text, or with the elements in it in the order of the schema."""
    element = ET.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    if isinstance(content, str):
        element.text = _characters(content)
    elif isinstance(content, list):
        for child, inner in content:
            _append(element, child, inner)


def _characters(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(mark for mark in text if mark in "\t\n" or mark >= " ")


def _sections(facts: Facts) -> list[tuple[str, object]]:
    limits = "\n".join(f"- {limit}" for limit in facts.limits)
    base = facts.base or _UNKNOWN
    return [
        ("BasicInfo", [
            ("ModelName", f"{facts.model}, {facts.label}"),
            ("ModelDeveloper", "The RARL project, or whoever trained these weights with it."),
            ("DeveloperContact", "The issues of the project's repository."),
        ]),
        ("ReleaseInfo", [
            ("ReleaseStage", "Research; not a medical device."),
            ("ReleaseDate", facts.made or NOT_RECORDED),
            ("ReleaseVersion", f"weights {facts.revision or 'unknown'}, RARL {__version__}"),
            ("GlobalAvailability", "As far as the licences of base and data allow; research only."),
            ("RegulatoryApproval", "None."),
        ]),
        ("ModelSummary", [
            ("Summary", f"{facts.label}, a variant of {facts.model}: a vision-language model that "
             "answers questions about medical images with its reasoning. For research, not for "
             "diagnosis."),
            ("Keywords", [("Keyword", word) for word in
                          ("medical visual question answering", "research only", "LoRA")]),
        ]),
        ("UsesAndDirections", [
            ("IntendedUseAndWorkflow", facts.intended_use),
            ("PrimaryIntendedUsers", facts.users),
            ("HowToUse", facts.how_to_use),
            ("TargetedPatientPopulation", "None: it is for no patient's care."),
            ("CautionedOutOfScopeSettings", facts.out_of_scope),
        ]),
        ("Warnings", [
            ("KnownRisksAndLimitations", limits),
            ("KnownBiasesOrEthicalConsiderations", "Accuracy by sex, age, origin or scanner has "
             "not been measured; biases of the training sets are to be expected."),
            ("ClinicalRiskLevel", "Not assessed: clinical use is out of scope."),
        ]),
        ("TrustIngredients", [
            ("AISystemFacts", [
                ("OutcomesAndOutputs", "A short answer in text, and the reasoning given for it."),
                ("ModelType", "Vision-language model of the class Qwen2-VL"
                 + (f", trained by {facts.recipe.upper()}." if facts.recipe else ".")),
                ("FoundationModels", base),
                ("InputDataSource", "One to four pictures of DICOM, NIfTI or image files, and a "
                 "question that a person types."),
                ("OutputAndInputDataTypes", "Input: 8-bit pictures as displayed, and text. "
                 "Output: text."),
                ("DevelopmentDataCharacterization", training_words(facts)),
                ("BiasMitigationApproaches", "None was taken."),
                ("OngoingMaintenance", "None is promised; readers' flags are collected for "
                 "review."),
            ]),
            ("TransparencyInformation", [
                ("FundingSource", _UNKNOWN),
                ("StakeholdersConsulted", _UNKNOWN),
            ]),
        ]),
        ("KeyMetrics", [
            ("UsefulnessUsabilityEfficacy", _metric(
                "Share of held-out questions that are answered right, by modality and kind of "
                "question.", facts, _results(facts.measured))),
            ("FairnessEquity", _metric(
                "Differences of accuracy between groups of patients.", facts, [])),
            ("SafetyReliability", _metric(
                "Harm that wrong answers do to readers and patients.", facts, [])),
        ]),
        ("Resources", [
            ("PeerReviewedPublications", f"The method: {_PAPER} (preprint)."),
            ("PatientConsentOrDisclosure", "See the licences of the training sets."),
        ]),
        ("Bibliography", "@misc{rarl, eprint = {2506.06600}, archivePrefix = {arXiv}}"),
    ]  # fmt: skip


def training_words(facts: Facts) -> str:
    """The training data and licences, one paragraph."""
    if not facts.training:
        return NOT_RECORDED
    sets = "; ".join(f"{one.name} ({one.licence})" for one in facts.training)
    if facts.rows is None or facts.images is None:
        return f"{sets}."
    return f"{facts.rows:,} rows about {facts.images:,} images: {sets}."


def _metric(goal: str, facts: Facts, results: list[tuple[str, object]]) -> list[tuple[str, object]]:
    measured = bool(results)
    return [
        ("MetricGoal", goal),
        # The schema asks for at least one.
        ("Results", results or [_result("Questions measured", {"kind": "single", "value": 0})]),
        ("Interpretation", "Exact match after normalisation; whole images are resampled for the "
         "intervals. It says nothing of clinical benefit." if measured else NOT_MEASURED),
        ("TestType", f"Retrospective, public data sets, mode {facts.mode}, greedy decoding."
         if measured else NOT_MEASURED),
        ("TestingDataDescription", "Held-out rows; those that training nearly repeats are left "
         "out." if measured else NOT_MEASURED),
        ("ValidationProcessAndJustification", "Recomputed from the kept answers with "
         "`python -m rarl evaluate --verify`." if measured else NOT_MEASURED),
    ]  # fmt: skip


def _results(measured: Iterable[Measured]) -> list[tuple[str, object]]:
    return [
        _result(
            f"{line.modality}, {KIND_WORDS[line.kind]}, {line.questions}: accuracy "
            f"(n {line.n}, {line.images} images)",
            {"kind": "single", "value": _percent(line.value), "unit": "%"}
            if line.low is None or line.high is None
            else {
                "kind": "estimate_ci", "estimate": _percent(line.value),
                "lower": _percent(line.low), "upper": _percent(line.high), "level": 95,
                "unit": "%",
            },
        )
        for line in measured
    ]  # fmt: skip


def _result(label: str, value: dict[str, object]) -> tuple[str, object]:
    return ("MetricResult", [("Label", label), ("ValueJson", json.dumps(value))])


def _percent(share: float) -> float:
    return round(100 * share, 2)
