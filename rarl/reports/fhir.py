"""A report as a FHIR R4 transaction bundle.

The models are those of R4B, in which the resources used here are the same as in R4 (4.0.1). A
bundle that is sent again creates no resource with an identifier twice: each is created only where
the server has none of it. `Provenance` has no identifier in R4, so each sending leaves one.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

from fhir.resources.R4B.bundle import Bundle

from rarl.records import CaseSnapshot, MeasuredValue, Measurement, Report, Sentence
from rarl.reports.identity import ANONYMOUS, Identity, identity_of, uid_of
from rarl.reports.text import as_text
from rarl.reports.words import (
    NOTICE,
    authorship,
    filled,
    is_own_text,
    model_of,
    shown_text,
    software,
)

Json = dict[str, Any]

_UCUM = "http://unitsofmeasure.org"
_LOINC = "http://loinc.org"
_SNOMED = "http://snomed.info/sct"
_SECTIONS = {
    "history": ("11329-0", "History general"),
    "technique": ("55111-9", "Current imaging procedure descriptions"),
    "comparison": ("18834-2", "Radiology comparison study"),
    "findings": ("59776-5", "Procedure findings"),
    "impression": ("19005-8", "Radiology imaging study impression"),
}
_QUANTITIES = {
    "length": (_SNOMED, "410668003", "Length"),
    "angle": (_SNOMED, "1483009", "Angle"),
    "area": (_SNOMED, "42798000", "Area"),
    "mean": (_SNOMED, "373098007", "Mean"),
    "sd": (_SNOMED, "386136009", "Standard deviation"),
    "minimum": (_SNOMED, "255605001", "Minimum"),
    "maximum": (_SNOMED, "56851009", "Maximum"),
}
_UNITS = {
    "mm": ("mm", "mm"),
    "px": ("pixels", "{pixels}"),
    "deg": ("degrees", "deg"),
    "mm2": ("mm²", "mm2"),
    "px2": ("square pixels", "{pixels}2"),
    "HU": ("HU", "[hnsf'U]"),
    "stored": ("stored value", "1"),
}


def as_bundle(report: Report, case: CaseSnapshot) -> str:
    """The report as JSON: DiagnosticReport, Observations, ImagingStudy, Device and Provenance.

    What a reader kept as it was proposed names the model as its device; `Provenance` says who
    assembled the report and who signed it. A report that is not signed is preliminary.

    Args:
        report: to write.
        case: that it is on.
    """
    return Bundle.model_validate(_bundle(report, case)).model_dump_json(indent=1)


def _bundle(report: Report, case: CaseSnapshot) -> Json:
    identity = identity_of(case)
    device = _entry(report, "Device", _device(report, case), f"{report.arm}-{report.revision}")
    study = _entry(report, "ImagingStudy", _study(case, identity), case.id)
    observations = [
        _entry(report, "Observation", _observation(report, one, code, device, study), one.key)
        for section, sentences in filled(report)
        for one in sentences
        for code in [_section_code(section.heading, section.title)]
    ]
    observations += [
        _entry(report, "Observation", _measured(report, one, study), one.key)
        for one in report.stated()
    ]
    references = [_reference(one) for one in observations]
    main = _entry(
        report, "DiagnosticReport", _report(report, case, study, references),
        f"{report.id}-{report.version}",
    )  # fmt: skip
    provenance = _entry(report, "Provenance", _provenance(report, device, main, observations), "")
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": report.created.isoformat(),
        "entry": [main, study, device, *observations, provenance],
    }


def _entry(report: Report, kind: str, resource: Json, identifier: str) -> Json:
    name = uuid5(NAMESPACE_OID, f"rarl/{kind}/{report.id}/{report.version}/{identifier}")
    request: Json = {"method": "POST", "url": kind}
    if identifier:
        system, number = resource["identifier"][0]["system"], resource["identifier"][0]["value"]
        request["ifNoneExist"] = f"identifier={quote(f'{system}|{number}', safe='')}"
    return {
        "fullUrl": f"urn:uuid:{name}",
        "resource": {"resourceType": kind, **resource},
        "request": request,
    }


def _reference(entry: Json) -> Json:
    return {"reference": entry["fullUrl"]}


def _own(kind: str, number: str) -> list[Json]:
    return [{"system": f"urn:oid:{uid_of('fhir', kind)}", "value": number}]


def _status(report: Report) -> str:
    if not report.signed:
        return "preliminary"
    return "corrected" if report.amends else "final"


def _person(report: Report) -> list[Json]:
    """Who signed or last changed it, by name: the app keeps no list of practitioners."""
    return [{"display": report.reader, "type": "Practitioner"}] if report.reader else []


def _report(report: Report, case: CaseSnapshot, study: Json, results: list[Json]) -> Json:
    impression = [
        shown_text(one)
        for section, sentences in filled(report)
        if section.heading == "impression"
        for one in sentences
    ]
    text = base64.b64encode(as_text(report, case).encode("utf-8")).decode("ascii")
    resource: Json = {
        "identifier": _own("report", f"{report.id}-{report.version}"),
        "status": _status(report),
        "category": [
            _code("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology"),
        ],
        "code": {**_code(_LOINC, "18748-4", "Diagnostic imaging study"), "text": report.title},
        "subject": {"display": ANONYMOUS},
        "effectiveDateTime": case.created.isoformat(),
        "issued": report.created.isoformat(),
        "imagingStudy": [_reference(study)],
        "result": results,
        "presentedForm": [
            {"contentType": "text/plain; charset=utf-8", "data": text, "title": report.title}
        ],
    }
    if report.signed:
        resource["performer"] = resource["resultsInterpreter"] = _person(report)
    if impression:
        resource["conclusion"] = " ".join(impression)
    return resource


def _section_code(heading: str, title: str) -> Json:
    return {**_code(_LOINC, *_SECTIONS[heading]), "text": title}


def _code(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _observation(report: Report, sentence: Sentence, code: Json, device: Json, study: Json) -> Json:
    resource: Json = {
        "identifier": _own("sentence", f"{sentence.key}-{report.version}"),
        "status": _status(report),
        "code": code,
        "subject": {"display": ANONYMOUS},
        "derivedFrom": [_reference(study)],
        "issued": report.created.isoformat(),
        "valueString": shown_text(sentence),
    }
    if is_own_text(sentence):
        if report.reader:
            resource["performer"] = _person(report)
    elif sentence.origin == "ai":
        resource["device"] = _reference(device)
    return resource


def _measured(report: Report, measurement: Measurement, study: Json) -> Json:
    where = {"detector": "at the detector", "patient": "in the patient"}
    components = [
        {"code": _code(*_QUANTITIES[one.quantity]), "valueQuantity": _quantity(one)}
        for one in measurement.values
    ]
    resource: Json = {
        "identifier": _own("measurement", f"{measurement.key}-{report.version}"),
        "status": _status(report),
        "code": {"text": measurement.label or measurement.kind.capitalize()},
        "subject": {"display": ANONYMOUS},
        "derivedFrom": [_reference(study)],
        "issued": report.created.isoformat(),
        "component": components,
    }
    if measurement.at in where:
        resource["method"] = {"text": f"Measured {where[measurement.at]}"}
    if measurement.notes:
        resource["note"] = [{"text": sentence} for sentence in measurement.notes]
    return resource


def _quantity(value: MeasuredValue) -> Json:
    unit, code = _UNITS[value.unit]
    return {"value": value.value, "unit": unit, "system": _UCUM, "code": code}


def _study(case: CaseSnapshot, identity: Identity) -> Json:
    uid = {"system": "urn:dicom:uid", "value": f"urn:oid:{identity.study}"}
    note = [{"text": identity.sentence}]
    series: Json = {
        "uid": identity.series,
        "modality": {
            "system": "http://dicom.nema.org/resources/ontology/DCM",
            "code": case.modality or "OT",
        },
        "instance": [
            {
                "uid": identity.image,
                "sopClass": {
                    "system": "urn:ietf:rfc:3986", "code": f"urn:oid:{identity.image_class}",
                },
            }
        ],
    }  # fmt: skip
    return {
        "identifier": [uid],
        "status": "available" if identity.keeps_study else "unknown",
        "subject": {"display": ANONYMOUS},
        "series": [series],
        "note": note,
    }


def _device(report: Report, case: CaseSnapshot) -> Json:
    return {
        "identifier": _own("device", f"{report.arm}-{report.revision}"),
        "manufacturer": "RARL",
        "deviceName": [{"name": f"{report.label} (AI)", "type": "user-friendly-name"}],
        "modelNumber": model_of(case),
        "serialNumber": report.revision,
        "version": [{"value": software()}],
        "note": [{"text": NOTICE}],
    }


def _provenance(report: Report, device: Json, main: Json, others: list[Json]) -> Json:
    def agent(kind: str, who: Json) -> Json:
        system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
        return {"type": _code(system, kind, kind.capitalize()), "who": who}

    agents = [agent("assembler", _reference(device))]
    for person in _person(report):
        agents.append(agent("verifier" if report.signed else "author", person))
    return {
        "target": [_reference(main), *map(_reference, others)],
        "recorded": report.created.isoformat(),
        "activity": {"text": authorship(report)},
        "agent": agents,
    }
