"""Check an answer against the file's header, the question and its own reasoning.

A check reads words and not meaning. It points at an answer that cannot be right as it stands; an
answer without a mark is not confirmed by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rarl.response import CHECK_SENTENCES, Check, CheckName
from rarl.rewards.reasoning import check_facts
from rarl.text.findings import findings_named, speaks_for
from rarl.text.sentences import sentences


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """Facts from the headers of a question's pictures, grouped by equal meaning.

    An empty set means that nothing is known, so that nothing can contradict it.

    Attributes:
        modalities: keys of `_MODALITY_WORDS`, one for each picture whose modality is known.
        body_parts: regions that may rightly be named ("chest", "abdomen", ...).
        sides: "left" or "right" (Laterality, Image Laterality).
        views: "frontal" or "lateral", or a plane ("axial", "coronal", "sagittal").
        projection: "pa" or "ap" where View Position says so, otherwise "".
    """

    modalities: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    sides: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()
    projection: str = ""


# Modality (PS3.3 C.7.3.1.1.1) to the group of words that name it.
_MODALITY_CODES = {
    **dict.fromkeys(("CR", "DX", "RG", "XA", "RF", "PX", "IO", "X-RAY", "XRAY"), "x-ray"),
    "MG": "mammography",
    "CT": "CT",
    **dict.fromkeys(("MR", "MRI"), "MRI"),
    **dict.fromkeys(("US", "IVUS", "ULTRASOUND"), "ultrasound"),
    **dict.fromkeys(("SM", "GM", "MICROSCOPY", "LIGHT MICROSCOPY"), "microscopy"),
    "ES": "endoscopy",
    **dict.fromkeys(("OP", "OPT"), "eye imaging"),
    **dict.fromkeys(("NM", "PT"), "nuclear medicine"),
}
_MODALITY_WORDS = {
    "x-ray": r"x-?\s?rays?|radiographs?|plain films?",
    "mammography": r"mammogra(?:m|ms|phy|phic)",
    "CT": r"ct|computed tomograph(?:y|ic)",
    "MRI": r"mri?|magnetic resonance",
    "ultrasound": r"ultra-?sounds?|sonogra(?:m|ms|phy|phic)|ultrasonograph(?:y|ic)|echography",
    "microscopy": r"microscop(?:y|ic)|micrographs?|histolog(?:y|ical)|blood smears?",
    "endoscopy": r"endoscop(?:y|ic)",
    "eye imaging": r"fundus photographs?|optical coherence tomograph(?:y|ic)",
    "nuclear medicine": r"pet(?:\s?/\s?ct)?|scintigra(?:m|phy)|spect",
}
# A mammogram is an X-ray picture, and PET comes with CT.
_MODALITY_ALSO = {
    "mammography": frozenset({"x-ray"}),
    "nuclear medicine": frozenset({"CT"}),
}
_REGION_WORDS = {
    "head": r"head|brain|skull|cerebr(?:al|um)|cranial|cranium|face|orbits?|sinus(?:es)?",
    "neck": r"neck|thyroid|larynx|cervical spine",
    "chest": r"chest|thorax|thoracic|lungs?|heart|rib ?cage|ribs|mediastinum",
    "breast": r"breasts?",
    "abdomen": r"abdomen|abdominal|liver|kidneys?|spleen|pancreas|stomach|gallbladder|bowel",
    "pelvis": r"pelvis|pelvic|bladder|uterus|prostate|ovar(?:y|ies)|hips?",
    "spine": r"spine|vertebra(?:e|l)?",
    "arm": r"arms?|shoulders?|elbows?|wrists?|hands?|fingers?|humerus|forearms?",
    "leg": r"legs?|knees?|ankles?|f(?:oo|ee)t|femurs?|thighs?|toes?",
    "blood": r"blood",
}
# Body Part Examined (PS3.16 Annex L), by the beginning of the term, to the regions it may show.
_BODY_PARTS = (
    (("HEAD", "BRAIN", "SKULL", "FACE", "ORBIT", "SINUS", "IAC", "SELLA"), ("head",)),
    (("CSPINE",), ("neck", "spine")),
    (("TSPINE",), ("chest", "spine")),
    (("LSPINE", "LSSPINE", "LUMBARSPINE", "SSPINE"), ("abdomen", "pelvis", "spine")),
    (("SPINE", "TLSPINE"), ("neck", "chest", "abdomen", "pelvis", "spine")),
    (("NECK", "THYROID", "LARYNX", "CAROTID"), ("neck",)),
    (("CHEST", "THORAX", "LUNG", "HEART", "RIB", "STERNUM", "MEDIASTINUM"), ("chest", "spine")),
    (("BREAST",), ("breast", "chest")),
    (
        ("ABDOMEN", "LIVER", "KIDNEY", "SPLEEN", "PANCREAS", "STOMACH", "GALLBLADDER", "COLON"),
        ("abdomen", "pelvis", "spine"),
    ),
    (("PELVIS", "HIP", "BLADDER", "UTERUS", "PROSTATE", "OVARY"), ("pelvis", "abdomen", "spine")),
    (("ARM", "SHOULDER", "ELBOW", "WRIST", "HAND", "FINGER", "HUMERUS", "FOREARM"), ("arm",)),
    (("LEG", "KNEE", "ANKLE", "FOOT", "FEMUR", "THIGH", "TOE", "CALF", "PATELLA"), ("leg",)),
)
_VIEW_WORDS = {
    "frontal": r"frontal|postero-?anterior|antero-?posterior|pa view|ap view",
    "lateral": r"lateral view|lateral projection|lateral (?:chest )?(?:x-?ray|radiograph|film)",
    "axial": r"axial|transverse plane",
    "coronal": r"coronal",
    "sagittal": r"sagittal",
}
_PROJECTION_WORDS = {
    "pa": r"postero-?anterior|pa (?:view|projection|film|radiograph)",
    "ap": r"antero-?posterior|ap (?:view|projection|film|radiograph)",
}
_PLANES = frozenset({"axial", "coronal", "sagittal"})

# A sentence that speaks of another picture than this one states nothing about it.
_ELSEWHERE = re.compile(
    r"\b(?:recommend\w*|suggest(?:ed)? (?:a|an|further)|should|advis\w*|follow-?up|correlat\w*|"
    r"further|prior|previous|earlier|compar\w*|if|would|could|unlike|rather than)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|no|never|neither|without|isn't|cannot)\b", re.IGNORECASE)
_YES_NO = re.compile(r"^\W*(yes|no)\b\W*", re.IGNORECASE)
_WH = re.compile(
    r"^(?:in (?:which|what)|on (?:which|what)|of (?:which|what)|at (?:which|what)|what|where|which|"
    r"who|whose|how|when|why)\b",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(r"^how (?:many|much)\b|^what (?:number|count)\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"\d|\b(?:none|zero|no|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|single|"
    r"several|many|few|multiple|numerous|both|pair)\b",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"^(?:is|are|was|were|do|does|did|has|have|can)\b[^?]*\bor\b(?! not\b)", re.IGNORECASE
)
_CLOSED = re.compile(
    r"^(?:(?:and|so|,)\s+)?(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|"
    r"any)\b",
    re.IGNORECASE,
)
# "Can you describe the scan?" is a request, whatever its form.
_REQUEST = re.compile(r"^(?:can|could|will|would) you\b(?! see\b)", re.IGNORECASE)
_DECIDES = re.compile(
    r"\b(?:yes|no|not|none|nothing|neither|never|without|cannot|can't|\w+n't|absent|absence|present|"
    r"presence|positive|negative|(?:ab)?normal\w*|(?:un)?likely|(?:im)?possibl[ey]|probabl[ey]|maybe|"
    r"perhaps|(?:un)?certain\w*|(?:un)?clear\w*|indeterminate|equivocal|inconclusive|suspicious|"
    r"suspected|visible|seen|evident|evidence|consistent|true|false|(?:in)?correct|both|either|"
    r"ja|nein|oui|non|s[ií])\b",
    re.IGNORECASE,
)
_THE_ANSWER_IS = re.compile(r"\bthe answer is(?: that)?:?\s+([^.;]+)", re.IGNORECASE)
_ENGLISH = frozenset(
    "a an the is are was were does do did has have can could any there this that these those it in "
    "on of at to for with and or what which where who how when why show shows see seen visible "
    "picture image scan describe abnormal normal left right side".split()
)


def header_facts(
    headers: Iterable[tuple[str | None, Mapping[str, str]]], planes: Iterable[str] = ()
) -> HeaderFacts:
    """Read the facts that the headers of a question's pictures state.

    Args:
        headers: for each picture its modality (a DICOM code or a word such as "ultrasound") and
            its kept attributes (DICOM keyword to text).
        planes: the planes in which volumes are shown; names other than axial, coronal and
            sagittal are ignored.
    """
    modalities: set[str] = set()
    regions: set[str] = set()
    sides: set[str] = set()
    views: set[str] = set(_PLANES.intersection(planes))
    projections: set[str] = set()
    unknown_part = False
    for modality, attributes in headers:
        if group := modality_group(modality):
            modalities.update({group}, _MODALITY_ALSO.get(group, ()))
        part = attributes.get("BodyPartExamined", "").upper()
        known = _regions(part)
        unknown_part = unknown_part or not known
        regions.update(known)
        for keyword in ("Laterality", "ImageLaterality"):
            if side := {"L": "left", "R": "right"}.get(attributes.get(keyword, "").upper()):
                sides.add(side)
        position = attributes.get("ViewPosition", "").upper()
        if position in ("PA", "AP"):
            views.add("frontal")
            projections.add(position.lower())
        elif position in ("LL", "RL", "LLAT", "RLAT", "LAT", "LATERAL"):
            views.add("lateral")
    return HeaderFacts(
        frozenset(modalities),
        frozenset() if unknown_part else frozenset(regions),
        frozenset(sides) if len(sides) == 1 else frozenset(),
        frozenset(views),
        next(iter(projections)) if len(projections) == 1 and views == {"frontal"} else "",
    )


def check_answer(
    question: str,
    answer: str,
    reasoning: str,
    facts: HeaderFacts,
    *,
    english_only: bool = False,
    has_options: bool = False,
) -> tuple[Check, ...]:
    """Find what in an answer contradicts the header, the question or itself.

    Args:
        question: as it was typed.
        answer: text of the answer block.
        reasoning: text of the think block, or "".
        facts: of the pictures that were asked about.
        english_only: whether the model reads no language but English.
        has_options: whether the question is a multiple-choice question.

    >>> facts = header_facts([("US", {})])
    >>> [check.name for check in check_answer("Mass?", "no", "This is a CT scan.", facts)]
    ['contradicts-modality']
    >>> [check.name for check in check_answer("Where is the tumour?", "no", "", HeaderFacts())]
    ['wrong-kind-of-answer']
    """
    checks = [
        *_against_header(question, answer, reasoning, facts),
        *_against_itself(question, answer, reasoning),
        *_beside_the_finding(question, answer, reasoning),
        *_against_question(question, answer, has_options),
    ]
    if english_only and not reads_as_english(question):
        checks.append(Check("unread-language", CHECK_SENTENCES["unread-language"]))
    return tuple({check.name: check for check in reversed(checks)}.values())[::-1]


def reads_as_english(text: str) -> bool:
    """Whether a question may be English: Latin script, and a common English word if it is long.

    >>> reads_as_english("Is there a mass?"), reads_as_english("¿Hay una masa en el hígado?")
    (True, False)
    >>> reads_as_english("Gibt es eine Raumforderung in der Leber?"), reads_as_english("mass?")
    (False, True)
    """
    words = re.findall(r"[^\W\d_]+", text.casefold())
    letters = "".join(words)
    if any(ord(letter) > 0x24F for letter in letters):
        return False
    # Short questions may be terms alone. "in" and "a" are words of other languages too.
    shared = {"in", "a", "an", "was", "on", "do", "me", "is", "or"}
    common = sum(word in _ENGLISH for word in words)
    return len(words) < 4 or common > sum(word in shared for word in words)


def modality_group(modality: str | None) -> str:
    """What a modality is called here, "" where it is not known.

    Args:
        modality: a DICOM code or a word.

    >>> modality_group("DX"), modality_group("mri"), modality_group("SR"), modality_group(None)
    ('x-ray', 'MRI', '', '')
    """
    return _MODALITY_CODES.get((modality or "").upper(), "")


def kind_of_question(text: str) -> Literal["closed", "open"]:
    """Whether a question asks for yes or no, or for one of the things that it names.

    >>> kind_of_question("Is there a mass?"), kind_of_question("Where is the mass?")
    ('closed', 'open')
    """
    asked = text.strip()
    return "open" if _WH.match(asked) or not _CLOSED.match(asked) else "closed"


def _regions(part: str) -> frozenset[str]:
    """The regions that a Body Part Examined may show; empty where the term is not known."""
    shown_regions = {
        region
        for starts, regions in _BODY_PARTS
        if any(part.startswith(start) for start in starts)
        for region in regions
    }
    # Terms such as CHESTABDPELVIS name several.
    for word, region in (("ABD", "abdomen"), ("PELV", "pelvis"), ("NECK", "neck")):
        if shown_regions and word in part:
            shown_regions.add(region)
    return frozenset(shown_regions)


def _statements(answer: str, reasoning: str) -> list[str]:
    """Sentences that affirm something of this picture."""
    return [
        sentence
        for sentence in (*sentences(reasoning), answer)
        if sentence and not _ELSEWHERE.search(sentence) and not _DENIED.search(sentence)
    ]


def _named(words: Mapping[str, str], text: str) -> list[str]:
    """Keys whose pattern stands in the text as whole words."""
    return [key for key, pattern in words.items() if re.search(rf"\b(?:{pattern})\b", text, re.I)]


def _kind_of_picture(sentence: str) -> bool:
    """Whether a sentence says what the picture is, and not what is to be seen in it."""
    return bool(
        re.search(
            r"\b(?:this|it|here|image|picture|scan|study|film|shown|shows|showing)\b|"
            r"\b(?:scans?|images?|radiographs?|x-?rays?|ultrasounds?|films?)\s+of\b",
            sentence,
            re.I,
        )
    )


def _against_header(
    question: str, answer: str, reasoning: str, facts: HeaderFacts
) -> Iterable[Check]:
    for sentence in _statements(answer, reasoning):
        is_answer = sentence == answer
        about = _kind_of_picture(sentence)
        if facts.modalities and (about or is_answer):
            named = _named(_MODALITY_WORDS, sentence)
            if named and not facts.modalities & set(named):
                yield _contradiction("contradicts-modality", named, facts.modalities)
        if facts.body_parts:
            whole = re.search(
                r"\b(?:scans?|images?|radiographs?|x-?rays?|ultrasounds?|mri?|ct|pictures?|film)\s+"
                r"(?:of|shows?)\s+(?:the |a |an )?((?:\w+ )?\w+)",
                sentence,
                re.I,
            )
            asks_part = re.search(
                r"\b(?:organ|body part|part of the body|region)\b", question, re.I
            )
            text = whole[1] if whole else sentence if is_answer and asks_part else ""
            named = _named(_REGION_WORDS, text)
            if named and not facts.body_parts & set(named):
                yield _contradiction("contradicts-body-part", named, facts.body_parts)
        if facts.sides and facts.body_parts & {"breast", "arm", "leg"}:
            paired = "|".join(_REGION_WORDS[r] for r in ("breast", "arm", "leg"))
            sides = re.findall(rf"\b(left|right) (?:{paired})\b", sentence, re.I)
            if is_answer and re.search(r"\b(?:side|laterality|left or right)\b", question, re.I):
                sides += re.findall(r"\b(left|right)\b", answer, re.I)
            named = sorted({side.lower() for side in sides})
            if named and not facts.sides & set(named):
                yield _contradiction("contradicts-side", named, facts.sides)
        if facts.views and (about or is_answer):
            named = [
                name
                for name in _named(_VIEW_WORDS, sentence)
                if (name in _PLANES) == bool(facts.views & _PLANES)
            ]
            if named and not facts.views & set(named):
                yield _contradiction("contradicts-view", named, facts.views)
            projections = _named(_PROJECTION_WORDS, sentence)
            if facts.projection and projections and facts.projection not in projections:
                yield _contradiction(
                    "contradicts-view", [p.upper() for p in projections], [facts.projection.upper()]
                )


def _contradiction(name: CheckName, named: Iterable[str], known: Iterable[str]) -> Check:
    says, header = " and ".join(named), " or ".join(sorted(known))
    return Check(name, f"The text says {says}; the file's header says {header}.")


def _against_itself(question: str, answer: str, reasoning: str) -> Iterable[Check]:
    if not (answer and reasoning):
        return
    stated = _THE_ANSWER_IS.search(reasoning)
    disagrees = check_facts(reasoning, answer, question, "[]").disagrees
    if stated and not disagrees:
        mine, stated_words = _content(answer), _content(stated[1])
        disagrees = bool(mine and stated_words) and not mine & stated_words
    if disagrees:
        yield Check("contradicts-itself", CHECK_SENTENCES["contradicts-itself"])


def _beside_the_finding(question: str, answer: str, reasoning: str) -> Iterable[Check]:
    """An affirmed finding that the reasoning passes over in favour of another one.

    Only a finding that the word list knows is judged, and only where it is said to be there: an
    answer "no" is well supported by naming what is there instead.
    """
    asked = findings_named(question)
    affirms = re.match(r"^\W*yes\b", answer, re.IGNORECASE) or (
        findings_named(answer) & asked and not _DENIED.search(answer)
    )
    if not (asked and affirms and _asks_yes_or_no(question.strip())):
        return
    # The reasoning may repeat the question.
    own_sentences = [part for part in sentences(reasoning) if not part.rstrip().endswith("?")]
    own_text = " ".join(own_sentences)
    named = frozenset().union(*map(findings_named, _statements("", own_text)))
    others = sorted(named - asked)
    if not others or any(speaks_for(finding, own_text) for finding in asked):
        return
    yield Check(
        "another-finding",
        f"The reasoning speaks of {' and '.join(others)} and not of {' or '.join(sorted(asked))}; "
        "it does not support the answer.",
    )


def _content(text: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return {word.removesuffix("s") for word in words if word not in {"a", "an", "the", "of", "in"}}


def _against_question(question: str, answer: str, has_options: bool) -> Iterable[Check]:
    asked = question.strip()
    if not answer:
        return
    bare = _YES_NO.match(answer)
    if _HOW_MANY.match(asked) and not _NUMBER.search(answer):
        yield Check("wrong-kind-of-answer", "The question asks for a number; the answer has none.")
    elif bare and _WH.match(asked) and not (_HOW_MANY.match(asked) and bare[1].lower() == "no"):
        reply = bare[1].lower()
        yield Check("wrong-kind-of-answer", f"The question is not a yes/no question ({reply}).")
    elif bare and bare.end() == len(answer) and _CHOICE.match(asked):
        yield Check(
            "wrong-kind-of-answer", "The question offers a choice; the answer names neither."
        )
    elif not has_options and _asks_yes_or_no(asked) and not _decides(asked, answer):
        yield Check(
            "wrong-kind-of-answer",
            "The question asks for yes or no; the answer names something else.",
        )


def _decides(asked: str, answer: str) -> bool:
    """Whether an answer says yes or no, or affirms by naming what was asked about."""
    return bool(_DECIDES.search(answer) or _content(answer) & _content(asked))


def _asks_yes_or_no(asked: str) -> bool:
    return (
        kind_of_question(asked) == "closed"
        and not _CHOICE.match(asked)
        and not _REQUEST.match(asked)
        # "Is there a fracture, and where is it?"
        and not re.search(r"\b(?:where|which|what|who|how|why|when)\b", asked, re.IGNORECASE)
    )
