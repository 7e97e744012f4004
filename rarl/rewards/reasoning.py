"""The reasoning reward of RARL (arXiv 2506.06600): the think block against annotated facts.

The paper rewards reasoning that fits a ground-truth explanation. Here it is read as statements
and compared with the annotated facts of the image: which facts it states, which it contradicts,
and whether it leads to the answer that follows it. Statements that no annotation speaks of count
neither way, suppositions cover nothing, and length counts for nothing. Where no annotated fact
bears on the explanation, the explanation itself is the reference (`rarl.rewards.free_text`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from rarl.response import Mode, parse_response
from rarl.rewards.completions import Completion, completion_text
from rarl.rewards.free_text import compare, encode_together
from rarl.text.negation import NEGATIONS, SUPPOSING
from rarl.text.normalise import normalise, tokens

# A conclusion that the reasoning denies halves the reward, however good the reasoning is.
_DISAGREEMENT = 0.5
# What kind of image it is, every arm knows: alone it must not pay for a wrong finding.
_KIND_OF_IMAGE = frozenset({"modality", "organ", "plane"})
_KIND_WEIGHT = 0.25
# Reasoning whose form has one of these problems earns nothing.
BROKEN = frozenset({"no-think", "unclosed-think", "nested-block", "repeated-block"})
_RUN = 6
_RUN_TIMES = 4

_STOPWORDS = frozenset(
    "is are was were be been am do does did has have had can could would should will may might this"
    " that these those there here it its of in on at to for from by with as and or if any some such"
    " you your we i he she they their his her patient s t what which who where when why how"
    " show shows shown showing see seen visible present image picture scan film view plane evidence"
    " sign signs identified noted visualized visualize evaluate most likely located demonstrate"
    " demonstrates appear appears yes abnormality slice section".split()
)
_MODALITIES = frozenset({"xray", "ct", "mri", "ultrasound", "microscopy"})
_ORGANS = {
    "brain": "brain",
    "head": "brain",
    "chest": "chest",
    "thorax": "chest",
    "abdomen": "abdomen",
    "breast": "breast",
    "blood": "blood",
}
_PLANES = frozenset({"axial", "coronal", "sagittal"})
_VIEWS = frozenset({"pa", "ap", "lateral"})
_VIEW_WORDS = frozenset({"plane", "view", "projection", "film", "xray"})
# Words that leave a sentence about the kind of image, not about something in it.
_KIND_WORDS = _MODALITIES | _ORGANS.keys() | _PLANES | _VIEWS | {"smear", "light"}
_SIDES = frozenset({"left", "right"})
_BOTH = frozenset({"both", "bilateral", "bilaterally"})
# Of these a finding is one at most, and each is one of its kind.
_EXCLUSIVE = (frozenset({"glioma", "meningioma", "pituitary"}), frozenset({"benign", "malignant"}))
_IS_A = {"glioma": "tumor", "meningioma": "tumor", "pituitary": "tumor"}

# Unlike `rarl.text.sentences`, a question stays with the answer behind it.
_SENTENCE = re.compile(r"(?<=[.!;])\s+|\n+|(?<=\w)[.!;]+$")
_CLAUSE = re.compile(r"[,;:]|\b(?:but|however|although|while|whereas|though)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """The content of one sentence, as words.

    Attributes:
        words: those that carry meaning, affirmed or denied.
        denied: those of them that stand under a negation.
        frame: of a question with its reply, the words of the question; else empty.
        reply: of a question with its reply other than yes or no, the words of the reply.
        about_kind: whether the sentence speaks of the image as such ("an MRI of the brain").
        view: whether plane or view is spoken of.
        supposed: whether it supposes ("may be", "if"): that covers no fact, but may contradict.
    """

    words: frozenset[str]
    denied: frozenset[str]
    frame: frozenset[str]
    reply: frozenset[str]
    about_kind: bool
    view: bool
    supposed: bool

    @property
    def affirmed(self) -> frozenset[str]:
        """Words that the sentence says are so."""
        return self.words - self.denied

    @property
    def sides(self) -> frozenset[str]:
        """Left, right or both, as the sentence says; of a question, its reply says it."""
        return _sides(self.reply if self.frame else self.affirmed)

    @property
    def modalities(self) -> frozenset[str]:
        """The kinds of image it says this is."""
        return self.affirmed & _MODALITIES

    @property
    def organs(self) -> frozenset[str]:
        """The organs it says are shown; empty where it speaks of something in the image."""
        named = self.affirmed & _ORGANS.keys() if self.about_kind else ()
        return frozenset(_ORGANS[word] for word in named)

    def denies(self, words: frozenset[str]) -> bool:
        """Whether what these words name is denied."""
        return bool(words & self.denied)


def read_statements(text: str) -> tuple[Statement, ...]:
    """The statements of a text; a question without a reply states nothing.

    >>> first, second = read_statements("There is no pleural effusion. Is the heart enlarged? Yes.")
    >>> sorted(first.denied), sorted(second.affirmed)
    (['effusion', 'pleural'], ['enlarged', 'heart'])
    >>> read_statements("Is the heart enlarged?")
    ()
    """
    return tuple(
        statement
        for sentence in _SENTENCE.split(text)
        if sentence and (statement := _read(sentence)) is not None
    )


def reasoning_score(
    reasoning: str,
    answer: str,
    question: str,
    facts: str,
    explanation: str,
    contradictions: bool = True,
) -> float:
    """Agreement of reasoning with the facts known of its image, in [0, 1].

    Precision is the share of facts stated among those stated or contradicted; recall is over the
    facts that the explanation states. Modality, organ and plane weigh a quarter of a finding. The
    harmonic mean is halved where the reasoning denies its own answer.

    Args:
        reasoning: the think block.
        answer: the answer block that goes with it.
        question: as asked.
        facts: JSON list of objects with kind, value, present and statement.
        explanation: the reference explanation, or "" where there is none.
        contradictions: whether stating what annotations deny costs precision.

    >>> chest = dict(kind="organ", value="chest", present=True, statement="It shows the chest.")
    >>> clear = "There is no pleural effusion."
    >>> denied = dict(kind="finding", value="pleural effusion", present=False, statement=clear)
    >>> known = dict(
    ...     question="Is there a pleural effusion?",
    ...     facts=json.dumps([chest, denied]),
    ...     explanation=f"It shows the chest. {clear}",
    ... )
    >>> reasoning_score("This is the chest without pleural effusion.", "no", **known)
    1.0
    >>> reasoning_score("There is a pleural effusion.", "yes", **known)
    0.0
    >>> reasoning_score("It shows the chest. There is no pleural effusion.", "yes", **known)
    0.5
    """
    if not tokens(reasoning) or repeats(reasoning):
        return 0.0
    asked = normalise(question)
    statements = tuple(
        statement
        for sentence in _SENTENCE.split(reasoning)
        if sentence and normalise(sentence) != asked and (statement := _read(sentence)) is not None
    )
    if not statements:
        return 0.0
    known = _known(facts, explanation)
    stated, against = _compare(statements, known.facts)
    if known.relevant:
        if not stated:
            return 0.0
        right = known.weight(stated)
        wrong = sum(_weight(kind) for kind, _ in against) if contradictions else 0.0
        precision = right / (right + wrong)
        recall = known.weight(stated & known.relevant) / known.weight(known.relevant)
        fit = 2 * precision * recall / (precision + recall) if recall else 0.0
        share = 0.5
    else:
        fit = compare(reasoning, explanation, question).score if explanation else 0.0
        # Free text has many words: all of the question's must stand in the statement.
        share = 1.0
    return fit * (_DISAGREEMENT if _disagrees(statements, question, answer, share) else 1.0)


@dataclass(frozen=True, slots=True)
class FactCheck:
    """Reasoning held against the annotated facts of its image, counted and not weighed.

    Attributes:
        annotated: facts that annotations give, or else claims of the explanation.
        covered: those of them that the reasoning states.
        contradicted: things it states that annotations give otherwise.
        neutral: its statements that no annotation speaks of.
        disagrees: whether it denies the answer that goes with it.
        claims: facts that the explanation states, or else the question with its reference; those
            of the kind of image (modality, organ, plane) only where there are no others.
        claims_covered: those of them that the reasoning states.
    """

    annotated: int
    covered: int
    contradicted: int
    neutral: int
    disagrees: bool
    claims: int = 0
    claims_covered: int = 0


def check_facts(
    reasoning: str, answer: str, question: str, facts: str, explanation: str = "",
    reference: str = "",
) -> FactCheck:  # fmt: skip
    """Count what `reasoning_score` weighs; the arguments are the same.

    Where no fact is annotated, the claims of the explanation are counted.

    Args:
        reasoning: the think block.
        answer: the answer block that goes with it.
        question: as asked.
        facts: JSON, as for `reasoning_score`.
        explanation: the reference explanation, or "" where there is none.
        reference: the right answer, or "" where it is not known.

    >>> chest = dict(kind="organ", value="chest", present=True, statement="It shows the chest.")
    >>> facts = json.dumps([chest])
    >>> check_facts("This is the chest.", "chest", "Which organ?", facts, "It shows the chest.")
    ... # doctest: +NORMALIZE_WHITESPACE
    FactCheck(annotated=1, covered=1, contradicted=0, neutral=0, disagrees=False, claims=1,
        claims_covered=1)
    """
    statements = read_statements(reasoning)
    known = _known(facts, "")
    if not known.facts and explanation and reasoning.strip():
        comparison = compare(reasoning, explanation, question)
        return FactCheck(
            annotated=comparison.claims,
            covered=comparison.covered,
            contradicted=comparison.contradicted,
            neutral=comparison.neutral,
            disagrees=bool(statements) and _disagrees(statements, question, answer, 1.0),
            claims=comparison.claims,
            claims_covered=comparison.covered,
        )
    stated, against = _compare(statements, known.facts)
    reference_text = explanation or (f"{question} {reference}." if reference else "")
    claims = _claims(_known(facts, reference_text))
    return FactCheck(
        annotated=sum(not fact.derived for fact in known.facts),
        covered=len(stated),
        contradicted=len(against),
        neutral=sum(not any(_compare([item], known.facts)) for item in statements),
        disagrees=bool(statements) and _disagrees(statements, question, answer),
        claims=len(claims),
        claims_covered=len(claims & stated),
    )


def _claims(known: _Known) -> frozenset[int]:
    """What the explanation says of the image besides its kind; of its kind, if nothing else."""
    findings = {index for index in known.relevant if known.facts[index].kind not in _KIND_OF_IMAGE}
    return frozenset(findings) or known.relevant


def reasoning_reward(
    prompts: Sequence[object],
    completions: Sequence[Completion],
    question: Sequence[str],
    explanation: Sequence[str],
    facts: Sequence[str],
    mode: Sequence[Mode],
    log_metric: Callable[[str, float], None] | None = None,
    log_extra: Callable[[str, list[str]], None] | None = None,
    contradictions: bool = True,
    **columns: object,
) -> list[float | None]:
    """`reasoning_score` of each completion; 0 where reasoning is missing, empty or cut off.

    None, which TRL leaves out of the sum, for the mode that asks for no reasoning. TRL also hands
    over `log_metric`, which is told how many facts were covered, contradicted, and how many
    statements no annotation speaks of, per reasoning; and `log_extra`, which adds question and
    explanation to the table of completions.

    >>> fact = '[{"kind":"organ","value":"brain","present":true,"statement":"It shows the brain."}]'
    >>> known = dict(question=["?"], explanation=["It shows the brain."], facts=[fact])
    >>> reasoning_reward([""], ["<think>The brain.</think><answer>yes</answer>"],
    ...     mode=["reason"], **known)
    [1.0]
    >>> reasoning_reward([""], ["<think></think><answer>yes</answer>"], mode=["reason"], **known)
    [0.0]
    >>> reasoning_reward([""], ["<answer>yes</answer>"], mode=["answer"], **known)
    [None]
    """
    rewards: list[float | None] = [None] * len(completions)
    checks: list[FactCheck] = []
    read: dict[int, tuple[str, str]] = {}
    for place, (completion, how) in enumerate(zip(completions, mode, strict=True)):
        if how == "answer":
            continue
        response = parse_response(completion_text(completion), how)
        if BROKEN & set(response.problems):
            rewards[place] = 0.0
            continue
        answer = "" if "no-answer" in response.problems else response.answer
        read[place] = (response.reasoning, answer)
    free = [place for place in read if explanation[place] and facts[place] in {"", "[]"}]
    if free:
        encode_together([read[place][0] for place in free], [question[place] for place in free])
    for place, (reasoning, answer) in read.items():
        known = (question[place], facts[place], explanation[place])
        rewards[place] = reasoning_score(reasoning, answer, *known, contradictions)
        if log_metric is not None:
            checks.append(check_facts(reasoning, answer, *known))
    if log_extra is not None:
        log_extra("question", list(question))
        log_extra("explanation", list(explanation))
    if log_metric is not None and checks:
        for name in ("covered", "contradicted", "neutral", "disagrees"):
            total = sum(int(asdict(check)[name]) for check in checks)
            log_metric(f"reasoning/{name}", total / len(checks))
    return rewards


def repeats(text: str) -> bool:
    """Whether a sentence comes twice, or a run of six words four times.

    >>> repeats("The lungs are clear. The lungs are clear."), repeats("Clear lungs. Normal heart.")
    (True, False)
    """
    sentences = [normalise(sentence) for sentence in _SENTENCE.split(text)]
    whole = [sentence for sentence in sentences if sentence]
    if len(set(whole)) < len(whole):
        return True
    words = tokens(text)
    runs = Counter(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
    return any(times >= _RUN_TIMES for times in runs.values())


# A kind of fact and the words that were stated wrongly.
_Contradiction = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Fact:
    kind: str
    present: bool
    value: frozenset[str]
    frame: frozenset[str]
    derived: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """Facts of an image, and those that the explanation states."""

    facts: tuple[_Fact, ...]
    relevant: frozenset[int]

    def weight(self, chosen: Iterable[int]) -> float:
        return sum(_weight(self.facts[index].kind) for index in chosen)


def _weight(kind: str) -> float:
    return _KIND_WEIGHT if kind in _KIND_OF_IMAGE else 1.0


@lru_cache(maxsize=4096)
def _known(facts: str, explanation: str) -> _Known:
    read: dict[_Fact, None] = {}
    for fact in json.loads(facts) if facts else []:
        value = _words(fact["value"])
        if fact["kind"] == "organ":
            value = frozenset({_ORGANS.get(fact["value"], fact["value"])})
        elif fact["kind"] == "modality":
            value = frozenset({"microscopy" if "microscopy" in value else normalise(fact["value"])})
        if not value:
            continue
        frame = _words(fact["statement"]) - value
        read[_Fact(fact["kind"], fact["present"], value, frame, False)] = None
        if fact["kind"] == "finding" and fact["present"]:
            # A glioma is a tumor, a benign lesion a lesion: denying that contradicts the fact.
            for kind in {_IS_A.get(word, "") for word in value} | (value & {"lesion", "tumor"}):
                if kind and {kind} != value:
                    read[_Fact("finding", True, frozenset({kind}), frozenset(), True)] = None
    known = tuple(read)
    statements = read_statements(explanation)
    stated, _ = _compare(statements, known)
    return _Known(known, stated)


def _words(text: str) -> frozenset[str]:
    """Words that carry meaning, in the singular."""
    return frozenset(_singular(word) for word in tokens(text) if word not in _STOPWORDS | NEGATIONS)


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "is", "us")):
        return word[:-1]
    return word


def _read(sentence: str) -> Statement | None:
    question, mark, reply = sentence.rpartition("?")
    if mark:
        answered = tokens(reply)
        if not answered:
            return None
        frame, reply_words = _words(question), _words(reply)
        if answered[0] in {"yes", "no"}:
            all_words = frame | reply_words
            return _statement(
                all_words, all_words if answered[0] == "no" else frozenset(), sentence, frame
            )
        denied = reply_words if NEGATIONS & set(answered) else frozenset[str]()
        return _statement(frame | reply_words, denied, sentence, frame, reply_words)
    words, under_no = set[str](), set[str]()
    for clause in _CLAUSE.split(sentence):
        under = False
        for word in tokens(clause):
            if word in NEGATIONS:
                under = True
            elif word not in _STOPWORDS:
                words.add(_singular(word))
                if under:
                    under_no.add(_singular(word))
    return _statement(frozenset(words), frozenset(under_no), sentence) if words else None


def _statement(
    words: frozenset[str],
    denied: frozenset[str],
    sentence: str,
    frame: frozenset[str] = frozenset(),
    reply: frozenset[str] = frozenset(),
) -> Statement:
    kinds = frozenset(_IS_A[word] for word in words - denied if word in _IS_A)
    return Statement(
        words=words | kinds,
        denied=denied,
        frame=frame,
        reply=reply,
        about_kind=len(words - _KIND_WORDS) <= 1,
        view=bool(words & _PLANES) or bool(_VIEW_WORDS & set(tokens(sentence))),
        supposed=bool(SUPPOSING & set(tokens(sentence))),
    )


def _compare(
    statements: Iterable[Statement], facts: Sequence[_Fact]
) -> tuple[frozenset[int], set[_Contradiction]]:
    """Split facts into stated and contradicted ones."""
    stated: set[int] = set()
    against: set[_Contradiction] = set()
    for statement in statements:
        here = _stated_findings(statement, facts, against)
        for index, fact in enumerate(facts):
            if fact.kind != "finding" and _states(statement, fact):
                here.add(index)
        against |= _contradictions(statement, facts, [facts[index] for index in here])
        if not statement.supposed:
            stated |= here
    return frozenset(index for index in stated if not facts[index].derived), against


def _stated_findings(
    statement: Statement, facts: Sequence[_Fact], against: set[_Contradiction]
) -> set[int]:
    """Findings stated as annotated; those stated the other way go to `against`.

    Annotators differ ("no fracture", "fracture of the left rib"): the most specific fact that a
    statement speaks of decides, and where such facts disagree, none does.
    """
    spoken = [
        index
        for index, fact in enumerate(facts)
        if fact.kind == "finding" and fact.value <= (statement.reply or statement.words)
    ]
    stated: set[int] = set()
    wrong: set[int] = set()
    for index in spoken:
        fact = facts[index]
        if any(fact.value < facts[other].value for other in spoken):
            continue
        (stated if statement.denies(fact.value) != fact.present else wrong).add(index)
    excused = frozenset(word for index in stated for word in facts[index].value)
    against |= {
        ("finding", facts[index].value) for index in wrong if not facts[index].value & excused
    }
    return stated


def _states(statement: Statement, fact: _Fact) -> bool:
    if fact.kind == "modality":
        return fact.value <= statement.affirmed
    if fact.kind == "organ":
        return any(_ORGANS.get(word) in fact.value for word in statement.affirmed)
    if fact.kind == "plane":
        return statement.view and fact.value <= statement.affirmed
    if not fact.value <= statement.affirmed:
        return False
    sides = _sides(fact.value)
    if sides and sides != statement.sides:
        return False
    # The same words about something else state another thing.
    return 2 * len(fact.frame & statement.words) >= len(fact.frame)


def _contradictions(
    statement: Statement, facts: Sequence[_Fact], stated: Sequence[_Fact]
) -> set[_Contradiction]:
    """Values stated where annotations give others; words that a stated fact explains are left."""
    explained = frozenset(word for fact in stated for word in fact.value | fact.frame)
    contradictions: set[_Contradiction] = set()
    values: dict[str, set[str]] = {}
    for fact in facts:
        values.setdefault(fact.kind, set()).update(fact.value if fact.present else ())
    affirmed = statement.affirmed
    if "modality" in values:
        stray = (affirmed & _MODALITIES) - values["modality"] - explained
        contradictions |= {("modality", frozenset({word})) for word in stray}
    if "organ" in values and statement.about_kind:
        organs = {_ORGANS[word] for word in affirmed & _ORGANS.keys()}
        contradictions |= {
            ("organ", frozenset({word})) for word in organs - values["organ"] - explained
        }
    if "plane" in values and statement.view:
        planes = affirmed & (_PLANES | _VIEWS)
        contradictions |= {
            ("plane", frozenset({word})) for word in planes - values["plane"] - explained
        }
    for group in _EXCLUSIVE:
        if group & values.get("finding", set()):
            stray = (affirmed & group) - values["finding"]
            contradictions |= {("finding", frozenset({word})) for word in stray}
    numbers = {word for word in affirmed if word.isdigit()} - explained
    sides = statement.sides
    if any(_sides(fact.value) == sides for fact in stated):
        sides = frozenset()
    for fact in facts:
        if not fact.present or fact.derived:
            continue
        subject = (fact.frame if fact.kind != "finding" else fact.value) - _SIDES - _BOTH
        if not subject or 2 * len(subject & statement.words) < len(subject):
            continue
        wanted = _sides(fact.value)
        if wanted and sides - wanted:
            contradictions.add(("side", fact.value))
        if fact.kind == "count" and numbers and not numbers & fact.value:
            contradictions.add(("count", fact.value))
        other = statement.reply and not statement.reply & fact.value
        if other and statement.frame == fact.frame and fact not in stated:
            contradictions.add(("other", fact.value))
    return contradictions


def _disagrees(
    statements: Sequence[Statement], question: str, answer: str, share: float = 0.5
) -> bool:
    """Whether the reasoning denies the answer that goes with it.

    A yes or no is compared with the last statement that has this share of the question's words.
    """
    asked, answer_words = _words(question), _words(answer)
    asked_denied = bool(NEGATIONS & set(tokens(question.lower().replace("yes/no", ""))))
    asked |= {_IS_A[word] for word in asked if word in _IS_A}
    replied = tokens(answer)
    if not replied:
        return False
    if replied[0] in {"yes", "no"} and not answer_words:
        about = [
            item for item in statements if asked and len(item.words & asked) >= share * len(asked)
        ]
        if not about:
            return False
        return about[-1].denies(asked) == ((replied[0] == "yes") != asked_denied)
    if not answer_words:
        return False
    denied = bool(NEGATIONS & set(replied))
    about = [item for item in statements if answer_words <= item.words]
    if about:
        return all(item.denies(answer_words) != denied for item in about)
    last = statements[-1]
    if last.reply and last.frame == asked and not last.reply & answer_words:
        return True
    groups = (*_EXCLUSIVE, _MODALITIES, _SIDES)
    affirmed = frozenset(word for item in statements for word in item.affirmed)
    return any(
        answer_words & group and affirmed & group and not affirmed & answer_words & group
        for group in groups
    )


def _sides(words: Iterable[str]) -> frozenset[str]:
    present = frozenset(words)
    return _SIDES if present & _BOTH else _SIDES & present
