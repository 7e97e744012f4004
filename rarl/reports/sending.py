"""Hand a signed report to the hospital's systems: a PACS over DICOMweb, or a FHIR server.

Only the servers that the settings name are asked, and redirects are not followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Report
from rarl.scans.dicomweb import SETTING as PACS_SETTING
from rarl.scans.dicomweb import Pacs
from rarl.settings import Settings

FHIR_SETTING, FHIR_TOKEN_SETTING = "RARL_FHIR_SERVER", "RARL_FHIR_TOKEN"
_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class FhirServer:
    """A FHIR R4 server.

    Attributes:
        url: its base address, such as "https://fhir.example.org/r4".
        token: sent as a bearer token, or "".
        patience: seconds that it may be silent.
    """

    url: str
    token: str = field(default="", repr=False)
    patience: float = 60.0

    @classmethod
    def from_settings(cls, settings: Settings) -> FhirServer | None:
        """The server that `RARL_FHIR_SERVER` and `RARL_FHIR_TOKEN` name, or None.

        Raises:
            ReviewError: the address cannot be used.
        """
        if not settings.fhir_server:
            return None
        try:
            parsed = httpx.URL(settings.fhir_server)
            usable = parsed.scheme in {"http", "https"} and parsed.host and not parsed.query
        except httpx.InvalidURL:
            usable = False
        if not usable or parsed.userinfo:
            raise ReviewError(
                f"{FHIR_SETTING} must be the address of a FHIR server without user or password, "
                "such as https://fhir.example.org/r4; correct or unset it."
            )
        return cls(settings.fhir_server, settings.fhir_token)

    def post(self, bundle: str) -> None:
        """Post a transaction bundle.

        Args:
            bundle: its JSON.

        Raises:
            ReviewError: the server refuses it, or cannot be asked. No sentence repeats what it
                says, which may quote the report.
        """
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with (
                httpx.Client(timeout=self.patience, follow_redirects=False) as client,
                client.stream("POST", self.url, content=bundle, headers=headers) as response,
            ):
                status = response.status_code
        except httpx.TimeoutException:
            raise ReviewError("The FHIR server does not answer in time; send it again.") from None
        except httpx.HTTPError:
            raise ReviewError(
                f"The FHIR server cannot be reached; check {FHIR_SETTING} and the network."
            ) from None
        if status in {401, 403}:
            raise ReviewError(f"The FHIR server refuses the token; check {FHIR_TOKEN_SETTING}.")
        if 300 <= status < 400:
            raise ReviewError(
                "The FHIR server sends elsewhere, which is not followed; put its real address in "
                f"{FHIR_SETTING}."
            )
        if status in {404, 405}:
            raise ReviewError(
                f"There is no FHIR server that takes bundles there; check {FHIR_SETTING}."
            )
        if status not in {200, 201}:
            raise ReviewError(
                f"The FHIR server did not take the report (HTTP status {status}); its log says why."
            )


def send_to_pacs(report: Report, case: CaseSnapshot, settings: Settings) -> None:
    """Store the report, and the picture that it refers to, in the PACS of `RARL_DICOMWEB`.

    Args:
        report: signed.
        case: that it is on.
        settings: of the site.

    Raises:
        ReviewError: it is not signed, or no PACS is set.
        PacsError: the PACS refuses it or cannot be asked.
    """
    # Here, since it loads highdicom.
    from rarl.reports.dicom_sr import as_sr, picture_of

    _check_signed(report)
    pacs = Pacs.from_settings(settings)
    if pacs is None:
        raise ReviewError(f"No PACS is set; set {PACS_SETTING} to its DICOMweb address.")
    files = (picture_of(case), as_sr(report, case))
    pacs.store([file for file in files if file is not None])


def send_to_fhir(report: Report, case: CaseSnapshot, settings: Settings) -> None:
    """Post the report to the server of `RARL_FHIR_SERVER`.

    Args:
        report: signed.
        case: that it is on.
        settings: of the site.

    Raises:
        ReviewError: it is not signed, no server is set, or it refuses or cannot be asked.
    """
    # Here, since it loads fhir.resources.
    from rarl.reports.fhir import as_bundle

    _check_signed(report)
    server = FhirServer.from_settings(settings)
    if server is None:
        raise ReviewError(f"No FHIR server is set; set {FHIR_SETTING} to its address.")
    server.post(as_bundle(report, case))


def _check_signed(report: Report) -> None:
    if not report.signed:
        raise ReviewError("Only a signed report is sent; sign it first.")
