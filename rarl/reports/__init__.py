"""Reports: begun from a model's answer, edited and signed by a reader.

store = open_store().for_person("bo", "reader")
report = Reports(store).begin(case_id, arm="rarl")      # a template chosen by the scan
report = Reports(store).save(with_kept(report, key))    # refused where somebody was quicker
report = Reports(store).sign(report)                    # once every proposal is decided
"""

from rarl.records.measurement_words import measurement_sentence
from rarl.reports.editing import (
    with_deleted,
    with_inserted,
    with_kept,
    with_known,
    with_measurement,
    with_restored,
    with_sentence,
    with_template,
    with_text,
)
from rarl.reports.prefill import prefilled
from rarl.reports.store import ReportConflict, Reports, report_of
from rarl.reports.templates import templates

__all__ = [
    "ReportConflict",
    "Reports",
    "measurement_sentence",
    "prefilled",
    "report_of",
    "templates",
    "with_deleted",
    "with_inserted",
    "with_kept",
    "with_known",
    "with_measurement",
    "with_restored",
    "with_sentence",
    "with_template",
    "with_text",
]
