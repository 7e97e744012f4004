"""Identifying text: keyed hashes of header values, and detection in typed text.

Measured against DICOM PS3.15 Annex E (Basic Application Level Confidentiality Profile and its
options), a `Stack` is not a de-identified DICOM object but keeps less: pixels and an allow-list.

Holds:
    Basic Profile: every attribute it removes, empties or replaces is gone, since only the
        allow-list of `rarl.scans.header_allowlist.kept_attributes` survives; so are private
        attributes, curves, graphic annotations, file meta information and unknown attributes.
    Retain Patient Characteristics: age (years, 90 for all above) and sex only.
    Retain Device Identity: the model's name only, neither serial number nor station.
    UIDs: replaced by keyed hashes (`keyed_hash`) of study and series, the same within a secret, so
        that scans group; without the secret they cannot be linked to the archive.

Does not hold:
    Clean Pixel Data: text in the pixels is *proposed* for masking (`proposed_masks`), and a person
        decides. Nothing finds all of it.
    Clean Recognizable Visual Features: a head's surface in a volume stays as it is.
    Clean Graphics: an overlay's bitmap is shown, as it is, to the person who opened the file; it
        is no part of any picture that is asked about, kept or exported.
    Clean Structured Content, Clean Descriptors: nothing of these is kept at all.
    Retain Longitudinal Temporal Information, Retain UIDs, Retain Safe Private,
        Retain Institution Identity: never; dates, times and institutions are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset

from rarl.scans.clinical_words import is_clinical
from rarl.scans.dates import dates_in, days
from rarl.scans.spelling import forms, name_words, names_inside, normal, readings, stems, surnames

_MOST_WORDS = 20_000
_LONGEST_PHRASE = 6
_SHORTEST_NAME = 3
_SHORTEST_RECORD = 4

# Descriptive fields whose words are everybody's: "CT ABDOMEN 5MM" identifies nobody, and to ask
# about each such word would teach people to click the question away.
_DESCRIPTIVE = frozenset(
    "StudyDescription SeriesDescription ProtocolName BodyPartExamined ManufacturerModelName "
    "Manufacturer SoftwareVersions ConvolutionKernel SequenceName ContrastBolusAgent "
    "CodeMeaning CodeValue CodingSchemeDesignator CodingSchemeVersion SpecificCharacterSet "
    "FilterType ScanOptions ImageType AcquisitionDeviceProcessingDescription "
    "ImplementationVersionName "
    "WindowCenterWidthExplanation LUTExplanation DerivationDescription PatientOrientation "
    "RequestedProcedureDescription PerformedProcedureStepDescription TransferSyntaxUID SOPClassUID "
    "MediaStorageSOPClassUID ReferencedSOPClassUID ImplementationClassUID "
    "PrivateCreator".split()
)
# Fields that identify whatever stands in them, one plain word included.
_IDENTIFYING = frozenset(
    "PatientID OtherPatientIDs IssuerOfPatientID AccessionNumber StudyID PatientAddress "
    "InstitutionName InstitutionAddress InstitutionalDepartmentName StationName DeviceSerialNumber "
    "PatientTelephoneNumbers MilitaryRank Occupation "
    "CountryOfResidence RegionOfResidence".split()
)
# What stands in a name's place where there is none, and titles.
_NO_NAMES = frozenset(
    "anon anonym anonymous anonymized anonymised deidentified doctor female male mister name none "
    "patient phantom prof professor removed subject test unknown volunteer".split()
)
_TEXT = frozenset(
    ["PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "UI", "DA", "DT", "UN", "OB", "CS"]
)

_LABELLED = re.compile(
    r"\b(?:mrn|m\.r\.n\.|patient(?:en)?[ -]?(?:id|nr|no|number|nummer)|pid|accession"
    r"(?: (?:no|number))?|acc(?:ession)?\.? ?#|case ?#|record(?: (?:no|number))?|ssn|nhs"
    r"(?: (?:no|number))?|fallnummer)\b[ .:#=]*([A-Z]{0,4}[- ]?\d[\w-]{2,})",
    re.I,
)
_SOCIAL = re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
# Letters of the alphabet alone: in Chinese and Japanese no space stands before a number.
_LONG_NUMBER = re.compile(r"(?<![A-Za-z0-9_.,])[A-Z]{0,3}\d{6,}(?!\w*[.,]\d)(?![A-Za-z0-9_])")
_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9_])(?:\+\d{1,3}[ -]?)?\(?\d{3,5}\)?[ /-]\d{3,4}[ -]\d{3,4}(?![A-Za-z0-9_])"
)
# Case tells a title from a modality: "Mr Smith", "MR brain".
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme|Sr|Sra)\.? (?:[A-Z]\. ?)?[A-Z][a-zà-ÿ'’-]+"
)
_NAMED = re.compile(
    r"\b(?:[Pp]atient|[Nn]ame)(?:'s name)?(?: is|:) [A-Z][a-z'’-]+,? [A-Z][a-z'’-]+"
)
_PATTERNS = (
    (_UID, "looks like a DICOM identifier"),
    (_MAIL, "looks like a mail address"),
    (_SOCIAL, "looks like a social security number"),
    (_LABELLED, "looks like a record number"),
    (_PHONE, "looks like a telephone number"),
    (_LONG_NUMBER, "looks like a record number"),
    (_TITLED, "looks like a name"),
    (_NAMED, "looks like a name"),
)


@cache
def process_secret() -> bytes:
    """The key of this process's hashes: 32 random bytes, gone when it ends."""
    return secrets.token_bytes(32)


def keyed_hash(text: str, secret: bytes | None = None) -> str:
    """HMAC-SHA256 of a UID or any identifier, cut to 128 bits, in hexadecimal.

    A plain hash could be undone by trying what it may stand for; a keyed one only with the secret.

    Args:
        text: the identifier.
        secret: at least 16 bytes; `process_secret()` where None.
    """
    return hmac.new(secret or process_secret(), text.encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Keyed hashes of the words in a header that identify someone; the words themselves are gone.

    Names are kept word by word, numbers and UIDs as a whole, dates by their day and longer texts
    as phrases, each normalised (`rarl.scans.spelling`) so that case, accents, ae for ä and
    punctuation do not matter. Of each digest 64 bits are kept: enough to recognise a word, while
    one who finds the digests needs the secret, which is nowhere near them, to try words against
    them.
    """

    digests: frozenset[bytes] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def knows(self, word: str, secret: bytes | None = None) -> bool:
        """Whether the header held this word, number, date (ISO) or phrase."""
        key = secret or process_secret()
        return any(form and _digest(form, key) in self.digests for form in forms(word))


def header_digests(dataset: Dataset, secret: bytes | None = None) -> frozenset[bytes]:
    """The digests of an `Identifiers`, of all elements: nested, private, file meta and unknown.

    Never raises: an element that cannot be read is passed over.
    """
    key = secret or process_secret()
    words: set[str] = set()
    for keyword, vr, value in _elements(dataset):
        words.update(_words_of(keyword, vr, value))
        if len(words) > _MOST_WORDS:
            break
    return frozenset(_digest(word, key) for word in words)


def identity_in_text(
    text: str, names: Iterable[Identifiers] = (), secret: bytes | None = None
) -> tuple[str, ...]:
    """Sentences on what in a typed text may identify a patient, to be shown to who typed it.

    Finds dates with a day in many languages, labelled or long record numbers, UIDs, telephone
    numbers, mail addresses, titles with a name, and whatever stood in a scan's header, inside
    sentences without spaces too. A year or an age alone, measurements, slice numbers and words of
    clinical questions are not matched. A sentence quotes the text: it belongs on
    the screen of the person who typed it, never in a log.

    Args:
        text: question, comment or correction.
        names: `Stack.identifiers` of the scans it is about.
        secret: with which those were opened; the process's own where None.

    >>> identity_in_text("Effusion on 3 March 2021, 12 mm, slice 104?")
    ('"3 March 2021" looks like a date.',)
    """
    known = list(names)
    warnings: list[str] = []
    spans: list[tuple[int, int]] = []

    def in_header(word: str) -> bool:
        return any(identifiers.knows(word, secret) for identifiers in known)

    def say(start: int, end: int, what: str) -> None:
        # What overlaps something said already would be said twice.
        if all(end <= begun or ended <= start for begun, ended in spans):
            spans.append((start, end))
            warnings.append(f'"{text[start:end]}" {what}.')

    for match, meant in dates_in(text):
        stands = any(in_header(day.isoformat()) for day in meant)
        what = "is a date that occurs in the scan's header" if stands else "looks like a date"
        say(*match.span(), what)
    for pattern, what in _PATTERNS:
        for match in pattern.finditer(text):
            say(*match.span(), what)
    if known:
        for start, end in (*_phrases(text), *names_inside(text)):
            if not is_clinical(text, start, end) and in_header(text[start:end]):
                say(start, end, "occurs in the scan's header")
        for start, end, form in surnames(text):
            if in_header(form):
                say(start, end, "occurs in the scan's header")
    return tuple(dict.fromkeys(warnings))


def _digest(normal: str, secret: bytes) -> bytes:
    return hmac.new(secret, normal.encode(), hashlib.sha256).digest()[:8]


def _phrases(text: str) -> Iterator[tuple[int, int]]:
    """Spans of up to `_LONGEST_PHRASE` words, the longer first; then parts of words."""
    words = [match.span() for match in re.finditer(r"[^\s,;:()\"]*\w", text)]
    for length in range(_LONGEST_PHRASE, 0, -1):
        for start in range(len(words) - length + 1):
            yield words[start][0], words[start + length - 1][1]
    for match in re.finditer(r"\w+", text):  # "Smith-Jones", "Smith's"
        yield match.span()


def _is_record(word: str) -> bool:
    return len(word) >= 6 and sum(mark.isdigit() for mark in word) >= 3


def _elements(dataset: Dataset) -> Iterator[tuple[str, str, Any]]:
    """(keyword, value representation, value) of all leaves; nothing that raises is let through."""
    waiting: list[Dataset] = [dataset]
    if isinstance(dataset, FileDataset):
        waiting.append(dataset.file_meta)
    seen = 0
    while waiting and seen < _MOST_WORDS:
        current = waiting.pop()
        for tag in tuple(current.keys()):
            seen += 1
            try:
                element = current[tag]
                if element.VR == "SQ":
                    waiting.extend(element.value)
                elif element.VR in _TEXT:
                    yield keyword_for_tag(tag), element.VR, element.value
            except Exception:
                continue


def _words_of(keyword: str, vr: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bytes):
        # Of unknown kind: text if it reads as such.
        if len(value) > 1024 or not value.rstrip(b"\0 ").isascii():
            return
        value = value.decode("ascii", "ignore").rstrip("\0 ")
    if not isinstance(value, str) and hasattr(value, "__iter__") and vr != "PN":
        for item in value:
            yield from _words_of(keyword, vr, item)
        return
    for reading in readings(str(value)[:4096]):
        yield from _words_in(keyword, vr, reading)


def _words_in(keyword: str, vr: str, text: str) -> Iterator[str]:
    if keyword in _DESCRIPTIVE or vr in ("CS", "OB"):
        # Descriptions are everybody's words; only what reads as a number in them is not.
        if vr != "UI":
            yield from (word for word in normal(text).split() if _is_record(word))
        return
    for _, meant in dates_in(text):
        yield from (normal(day.isoformat()) for day in meant)
    if vr in ("DA", "DT"):
        yield from (normal(day.isoformat()) for day in days(text[:4], text[4:6], text[6:8]))
        return
    if vr == "PN":
        yield from name_words(text)
    for form in forms(text):
        yield from _words_of_form(keyword, vr, form)


def _words_of_form(keyword: str, vr: str, form: str) -> Iterator[str]:
    words = form.split()
    if vr == "UI":
        yield form
    elif vr == "PN":
        for word in words:
            if word not in _NO_NAMES and len(word) >= (_SHORTEST_NAME if word.isascii() else 2):
                yield word
                yield from stems(word)
    else:
        whole = 1 < len(words) <= _LONGEST_PHRASE
        whole |= keyword in _IDENTIFYING and len(form) >= _SHORTEST_RECORD
        numbered = any(mark.isdigit() for mark in form)
        if whole or (words and numbered and len(form) >= _SHORTEST_RECORD):
            yield form
        for word in words:
            if len(word) >= _SHORTEST_RECORD and any(mark.isdigit() for mark in word):
                yield word
