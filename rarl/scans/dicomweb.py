"""Search, fetch and store studies of a PACS over DICOMweb (PS3.18: QIDO-RS, WADO-RS, STOW-RS).

Off unless `RARL_DICOMWEB` names the server, and no other is ever asked: redirects are not followed.
What arrives is bytes, for `open_stack` like an upload. The usual library, dicomweb-client, parses
every file in the process that asks, whatever its size; here decoders run in
`rarl.scans.decoder_process`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from uuid import uuid4

import httpx
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from rarl.errors import PacsError
from rarl.limits import Limits
from rarl.scans.header_allowlist import known_body_part, known_modality
from rarl.scans.phi import identity_in_text
from rarl.settings import Settings, read_settings

SETTING = "RARL_DICOMWEB"
USER_SETTING, PASSWORD_SETTING = "RARL_DICOMWEB_USER", "RARL_DICOMWEB_PASSWORD"
TOKEN_SETTING = "RARL_DICOMWEB_TOKEN"

# Of one accession number; more are a search gone wrong.
_MOST_STUDIES = 10
_MOST_SERIES = 200
# A search's answer, in bytes.
_MOST_FOUND = 10_000_000
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
# No wildcard (* ?) and no list (, \), which would make one number a search through all patients.
_NUMBER = re.compile(r"[^*?,\\\x00-\x1f\x7f]{1,64}")
# The files as they lie in the archive: an unasked conversion may fail, and compressed is faster.
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_NO_SERVER = f"What answers is no DICOMweb server; check the address in {SETTING}."
_CUT_SHORT = "The series did not arrive whole, so nothing was opened; try again."


@dataclass(frozen=True, slots=True)
class Series:
    """A series on offer: what tells it from others, and nothing else of what the server says.

    Attributes:
        study: Study Instance UID.
        uid: Series Instance UID.
        modality: DICOM Modality, or "".
        body_part: Body Part Examined, where it is one, or "".
        description: Series Description, where no date or number in it may be somebody's, or "".
        images: how many files it has; None where the server does not say.
    """

    study: str = field(repr=False)
    uid: str = field(repr=False)
    modality: str = ""
    body_part: str = ""
    description: str = field(default="", repr=False)
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Pacs:
    """A DICOMweb server.

    Attributes:
        url: address of the service, such as "https://pacs.example.org/dicom-web".
        user: for HTTP's basic authentication, or "".
        password: of that user.
        token: sent as a bearer token, or "".
        patience: seconds that it may be silent.
        most_seconds: the longest that one answer may take.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    patience: float = 60.0
    most_seconds: float = 600.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Pacs | None:
        """The server that the settings name, or None.

        `RARL_DICOMWEB` is its address; `RARL_DICOMWEB_USER` and `RARL_DICOMWEB_PASSWORD`, or
        `RARL_DICOMWEB_TOKEN`, are what it asks for.

        Raises:
            PacsError: a setting cannot be used; the sentence names it.
        """
        url, user, token = settings.dicomweb, settings.dicomweb_user, settings.dicomweb_token
        if not url:
            return None
        try:
            parsed = httpx.URL(url)
            usable = parsed.scheme in {"http", "https"} and parsed.host and not parsed.query
        except httpx.InvalidURL:
            usable = False
        if not usable:
            raise PacsError(
                f"{SETTING} must be the address of a DICOMweb service, such as "
                "https://pacs.example.org/dicom-web; correct or unset it."
            )
        if parsed.userinfo:
            raise PacsError(
                f"{SETTING} holds a user or password; set {USER_SETTING} and {PASSWORD_SETTING}."
            )
        if token and user:
            raise PacsError(f"Set {TOKEN_SETTING} or {USER_SETTING}, and not both.")
        return cls(url, user, settings.dicomweb_password, token)

    def search(self, wanted: str) -> tuple[Series, ...]:
        """The series with pictures of a study, in the order of their numbers.

        Args:
            wanted: Study Instance UID or accession number, whole.

        Raises:
            PacsError: nothing or too much was found, or the server cannot be asked.
        """
        wanted = wanted.strip()
        if not _NUMBER.fullmatch(wanted):
            raise PacsError("Type a whole accession number or study UID, without * or ?.")
        # Accession numbers with dots are rare, and exist.
        keys = ("0020000D", "00080050")[0 if _UID.fullmatch(wanted) else 1 :]
        studies: list[dict[str, Any]] = []
        chosen: list[tuple[int, Series]] = []
        with _told(), self._client() as client:
            for key in keys:
                if not studies:
                    entries = self._found(client, "studies", {key: wanted}, _MOST_STUDIES)
                    # A server that overlooks the question must not bring somebody else's study.
                    studies = [
                        entry
                        for entry in entries
                        if _text(entry, key).casefold() == wanted.casefold()
                    ]
            if len(studies) > _MOST_STUDIES:
                raise PacsError(
                    f"More than {_MOST_STUDIES} studies have this accession number; "
                    "search by study UID."
                )
            for entry in studies:
                study = _uid(entry, "0020000D")
                listed = self._found(
                    client,
                    f"studies/{study}/series",
                    {"includefield": ["00180015", "0008103E", "00201209"]},
                    _MOST_SERIES,
                )
                chosen += [_series(study, entry) for entry in listed]
        if not studies:
            raise PacsError(
                "The PACS has no study of this accession number or study UID; check the number."
            )
        if len(chosen) > _MOST_SERIES:
            raise PacsError(f"The study has more than {_MOST_SERIES} series; open it from files.")
        # Reports, plans and presentation states hold no pictures.
        pictures = [
            pair for pair in chosen if known_modality(pair[1].modality) or not pair[1].modality
        ]
        if not pictures:
            raise PacsError("The study has no pictures in the PACS; check the number.")
        return tuple(series for _, series in sorted(pictures, key=lambda pair: pair[0]))

    def files(self, series: Series, limits: Limits | None = None) -> Iterator[bytes]:
        """The files of a series as they arrive, for `open_stack`.

        Args:
            series: as `search` found it.
            limits: those of the settings where None.

        Raises:
            PacsError: it does not arrive, or is larger than the limits allow.
        """
        limits = limits or read_settings().limit
        path = f"studies/{series.study}/series/{series.uid}"
        count = 0
        with self._client() as client, _told(), client.stream(
            "GET", path, headers={"Accept": _FILES}
        ) as response:  # fmt: skip
            if response.status_code in {204, 404, 410}:
                raise PacsError("The PACS no longer has this series; search again.")
            too_large = (
                f"The series is larger than {limits.series_bytes // 1_000_000} MB; "
                "open the part in question from files."
            )
            for file in _parts(response, self._read(response, limits.series_bytes, too_large)):
                count += 1
                if count > limits.entries:
                    raise PacsError(
                        f"The series has more than {limits.entries} files; open it from files."
                    )
                yield file

    def store(self, files: Sequence[bytes]) -> None:
        """Store DICOM files (STOW-RS). A file that the server has already stays as it is.

        Args:
            files: whole DICOM files.

        Raises:
            PacsError: the server refuses one, or cannot be asked.
        """
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--".encode("ascii")
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        with _told(), self._client() as client, client.stream(
            "POST", "studies", content=body, headers=headers
        ) as response:  # fmt: skip
            if response.status_code in {202, 409}:
                raise PacsError(
                    "The PACS did not store all of the report; ask who runs it what it accepts."
                )
            if response.status_code in {404, 405, 501}:
                raise PacsError("The PACS takes no files over DICOMweb; ask who runs it.")
            for _ in self._read(response, _MOST_FOUND, _NO_SERVER):
                pass

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            auth=(self.user, self.password) if self.user else None,
            headers={
                # What is compressed twice can unpack to a million times its size, and files are
                # compressed already.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            },
            timeout=httpx.Timeout(self.patience, connect=min(self.patience, 10.0)),
            follow_redirects=False,
        )

    def _found(
        self, client: httpx.Client, path: str, query: Mapping[str, Any], most: int
    ) -> list[dict[str, Any]]:
        """Matches in DICOM's JSON (PS3.18 F.2); at most one more than `most`."""
        asked = {**query, "limit": most + 1}
        accept = {"Accept": "application/dicom+json"}
        with client.stream("GET", path, params=asked, headers=accept) as response:
            if response.status_code == 404 and path == "studies":
                raise PacsError(_NO_SERVER)
            if response.status_code in {204, 404}:
                return []
            too_large = "The PACS answers with too much; search by study UID."
            body = b"".join(self._read(response, _MOST_FOUND, too_large))
            # Whoever knows no limit sends all of it.
            entries: list[dict[str, Any]] = json.loads(body)[: most + 1]
            return entries

    def _read(self, response: httpx.Response, most: int, too_large: str) -> Iterator[bytes]:
        """The body piece by piece, not for ever and never more than `most` bytes."""
        _check(response)
        end = time.monotonic() + self.most_seconds
        size = 0
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            raise PacsError(
                "The PACS sends compressed answers though it was asked not to; switch its HTTP "
                "compression off."
            )
        for piece in response.iter_raw():
            size += len(piece)
            if size > most:
                raise PacsError(too_large)
            if time.monotonic() > end:
                raise PacsError("The PACS sends too slowly, so it was stopped; try again later.")
            yield piece


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status in {401, 403}:
        raise PacsError(
            f"The PACS refuses the sign-in that is set; check {USER_SETTING} and "
            f"{PASSWORD_SETTING}, or {TOKEN_SETTING}."
        )
    if response.is_redirect:
        raise PacsError(
            f"The PACS sends elsewhere, which is not followed; put its real address in {SETTING}."
        )
    if status != 200:
        raise PacsError(f"The PACS could not answer (HTTP status {status}); try again later.")


def _parts(response: httpx.Response, body: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of a multipart body (RFC 2387), each when it is whole."""
    head = Message()
    head["Content-Type"] = response.headers.get("content-type", "")
    if head.get_content_type() == "application/dicom":  # against the standard, and met with
        yield b"".join(body)
        return
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/related" or not boundary:
        raise PacsError(_NO_SERVER)
    part = bytearray()
    whole: list[bytes] = []
    ended = False

    def add(data: bytes, start: int, end: int) -> None:
        part.extend(memoryview(data)[start:end])

    def finish() -> None:
        whole.append(bytes(part))
        part.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        str(boundary), {"on_part_data": add, "on_part_end": finish, "on_end": end}
    )
    for piece in body:
        parser.write(piece)
        yield from whole
        whole.clear()
    if not ended:
        raise PacsError(_CUT_SHORT)


def _series(study: str, entry: Mapping[str, Any]) -> tuple[int, Series]:
    """The number of a series, and what is told of it."""

    def integer(tag: str) -> int | None:
        text = _text(entry, tag)
        return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None

    description = _text(entry, "0008103E")
    return integer("00200011") or 0, Series(
        study,
        _uid(entry, "0020000E"),
        _text(entry, "00080060"),
        known_body_part(_text(entry, "00180015")),
        "" if identity_in_text(description) else description,
        integer("00201209"),
    )


def _text(entry: Mapping[str, Any], tag: str) -> str:
    values = entry.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip()[:100]


def _uid(entry: Mapping[str, Any], tag: str) -> str:
    uid = _text(entry, tag)
    if not _UID.fullmatch(uid):  # it becomes part of an address
        raise ValueError
    return uid


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong between here and the server into one sentence.

    `from None`: the messages quote addresses with the numbers of studies in them.
    """
    try:
        yield
    except httpx.TimeoutException:
        raise PacsError("The PACS does not answer in time; try again later.") from None
    except httpx.ConnectError:
        raise PacsError(
            f"The PACS cannot be reached, or its certificate is not trusted; check {SETTING}, the "
            "network, and SSL_CERT_FILE for certificates of one's own."
        ) from None
    except httpx.TransportError:
        raise PacsError("The connection to the PACS broke off; try again.") from None
    except FormParserError:
        raise PacsError(_CUT_SHORT) from None
    except (httpx.HTTPError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
        raise PacsError(_NO_SERVER) from None
