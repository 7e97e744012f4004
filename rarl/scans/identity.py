"""What identifies somebody: replaced by keyed hashes on the way in, looked for in typed text.

Measured against DICOM PS3.15 Annex E (Basic Application Level Confidentiality Profile and its
options), a `Stack` is not a de-identified DICOM object but keeps less: pixels and an allow-list.

Holds:
    Basic Profile: every attribute it removes, empties or replaces is gone, since only the
        allow-list of `rarl.scans.header.kept_attributes` survives; so are private attributes,
        curves, graphic annotations, file meta information and unknown attributes.
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
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset

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

_ISO = re.compile(r"(?<!\d)(\d{4})[-./](\d{1,2})[-./](\d{1,2})(?!\d)")
_NUMERIC = re.compile(r"(?<![\d.])(\d{1,2})[-./](\d{1,2})[-./](\d{4}|\d{2})(?![\d.]*\d)")
_COMPACT = re.compile(r"(?<![\d.])((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d.]*\d)")
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar jänner", "february feb februar", "march mar märz mrz",
            "april apr", "may mai", "june jun juni", "july jul juli", "august aug",
            "september sept sep", "october oct oktober okt", "november nov",
            "december dec dezember dez",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|\.)?[ -](?:of )?({_MONTH})\.?,?[ -](\d{{4}})\b", re.I
)
_MONTH_FIRST = re.compile(rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", re.I)

_LABELLED = re.compile(
    r"\b(?:mrn|m\.r\.n\.|patient(?:en)?[ -]?(?:id|nr|no|number|nummer)|pid|accession"
    r"(?: (?:no|number))?|acc(?:ession)?\.? ?#|case ?#|record(?: (?:no|number))?|ssn|nhs"
    r"(?: (?:no|number))?|fallnummer)\b[ .:#=]*([A-Z]{0,4}[- ]?\d[\w-]{2,})",
    re.I,
)
_SOCIAL = re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
_LONG_NUMBER = re.compile(r"(?<![\w.,])[A-Z]{0,3}\d{6,}(?![\w]*[.,]\d)\b")
_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+")
_PHONE = re.compile(r"(?<!\w)(?:\+\d{1,3}[ -]?)?\(?\d{3,5}\)?[ /-]\d{3,4}[ -]\d{3,4}(?!\w)")
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
    as phrases, each normalised (`_normal`) so that case, accents and punctuation do not matter. Of
    each digest 64 bits are kept: enough to recognise a word, while one who finds the digests needs
    the secret, which is nowhere near them, to try words against them.
    """

    digests: frozenset[bytes] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def knows(self, word: str, secret: bytes | None = None) -> bool:
        """Whether the header held this word, number, date (ISO) or phrase."""
        normal = _normal(word)
        return bool(normal) and _digest(normal, secret or process_secret()) in self.digests


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

    Finds dates with a day, labelled or long record numbers, UIDs, telephone numbers, mail
    addresses, titles with a name, and whatever stood in a scan's header. A year or an age alone,
    measurements and slice numbers are left in peace. A sentence quotes the text: it belongs on
    the screen of the person who typed it, never in a log.

    Args:
        text: question, comment or correction.
        names: `Stack.identifiers` of the scans it is about.
        secret: with which those were opened; the process's own where None.

    >>> identity_in_text("Effusion on 3 March 2021, 12 mm, slice 104?")
    ('"3 March 2021" looks like a date.',)
    """
    known = list(names)
    said: list[str] = []
    spans: list[tuple[int, int]] = []

    def in_header(word: str) -> bool:
        return any(identifiers.knows(word, secret) for identifiers in known)

    def say(start: int, end: int, what: str) -> None:
        # What overlaps something said already would be said twice.
        if all(end <= begun or ended <= start for begun, ended in spans):
            spans.append((start, end))
            said.append(f'"{text[start:end]}" {what}.')

    for match, days in _dates(text):
        stands = any(in_header(day.isoformat()) for day in days)
        what = "is a date that stands in the scan's header" if stands else "looks like a date"
        say(*match.span(), what)
    for pattern, what in _PATTERNS:
        for match in pattern.finditer(text):
            say(*match.span(), what)
    if known:
        for start, end in _phrases(text):
            if in_header(text[start:end]):
                say(start, end, "stands in the scan's header")
    return tuple(dict.fromkeys(said))


def _digest(normal: str, secret: bytes) -> bytes:
    return hmac.new(secret, normal.encode(), hashlib.sha256).digest()[:8]


def _normal(text: str) -> str:
    """Case, accents and punctuation taken away; words stay apart by one space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = (mark if mark.isalnum() else " " for mark in plain if not unicodedata.combining(mark))
    return " ".join("".join(kept).split())


def _phrases(text: str) -> Iterator[tuple[int, int]]:
    """Where runs of up to `_LONGEST_PHRASE` words stand, the longer first; then parts of words."""
    words = [match.span() for match in re.finditer(r"[^\s,;:()\"]*\w", text)]
    for length in range(_LONGEST_PHRASE, 0, -1):
        for start in range(len(words) - length + 1):
            yield words[start][0], words[start + length - 1][1]
    for match in re.finditer(r"\w+", text):  # "Smith-Jones", "Smith's"
        yield match.span()


def _dates(text: str) -> Iterator[tuple[re.Match[str], list[date]]]:
    """What reads as a date, and the days it may mean (day or month first)."""
    for match in _ISO.finditer(text):
        yield match, _days(match[1], match[2], match[3])
    for match in _NUMERIC.finditer(text):
        year = match[3]
        years = [year] if len(year) == 4 else [f"19{year}", f"20{year}"]
        found = [
            day
            for full in years
            for first, second in ((match[1], match[2]), (match[2], match[1]))
            for day in _days(full, second, first)
        ]
        # "1.5.10" may be a version and "3/4/12" a score; only what is a day counts.
        if found:
            yield match, found
    for match in _COMPACT.finditer(text):
        days = _days(match[1], match[2], match[3])
        if days:
            yield match, days
    for match in _DAY_FIRST.finditer(text):
        yield match, _days(match[3], str(_MONTHS[match[2].lower()]), match[1])
    for match in _MONTH_FIRST.finditer(text):
        yield match, _days(match[3], str(_MONTHS[match[1].lower()]), match[2])


def _is_record(word: str) -> bool:
    return len(word) >= 6 and sum(mark.isdigit() for mark in word) >= 3


def _days(year: str, month: str, day: str) -> list[date]:
    try:
        return [date(int(year), int(month), int(day))]
    except ValueError:
        return []


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
    text = str(value)[:4096]
    if keyword in _DESCRIPTIVE or vr in ("CS", "OB"):
        # Descriptions are everybody's words; only what reads as a number in them is not.
        if vr != "UI":
            yield from (word for word in _normal(text).split() if _is_record(word))
        return
    for _, days in _dates(text):
        yield from (_normal(day.isoformat()) for day in days)
    if vr in ("DA", "DT"):
        yield from (_normal(day.isoformat()) for day in _days(text[:4], text[4:6], text[6:8]))
        return
    normal = _normal(text)
    words = normal.split()
    if vr == "UI":
        yield normal
    elif vr == "PN":
        for word in words:
            if word not in _NO_NAMES and len(word) >= (_SHORTEST_NAME if word.isascii() else 2):
                yield word
    else:
        whole = 1 < len(words) <= _LONGEST_PHRASE
        whole |= keyword in _IDENTIFYING and len(normal) >= _SHORTEST_RECORD
        numbered = any(mark.isdigit() for mark in normal)
        if whole or (words and numbered and len(normal) >= _SHORTEST_RECORD):
            yield normal
        for word in words:
            if len(word) >= _SHORTEST_RECORD and any(mark.isdigit() for mark in word):
                yield word
