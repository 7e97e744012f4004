"""Findings by the words that name them, and by the words that readers give as their signs.

A word list, and no ontology: a finding that is not on it is not known. It serves to tell that a
text speaks of another finding than the one that was asked about.
"""

from __future__ import annotations

import re
from functools import cache

# Finding to the words that name it, and to further words that may speak for it. What speaks for a
# finding may name another: fluid overload shows in the heart, in the pleura and in the lung.
_FINDINGS: dict[str, tuple[str, str]] = {
    "pneumonia": (
        r"pneumonias?|bronchopneumonia|pneumonic|pneumonitis|consolidat\w+|infiltrat\w*|"
        r"air-?\s?space (?:disease|opacit\w+)",
        r"opaci\w+|infect\w*|air bronchograms?|ground-?\s?glass|haz[ey]\w*|silhouette sign|"
        r"covid\w*|tubercul\w+|aspirat\w+|lobar|patchy|inflam\w+",
    ),
    "pleural effusion": (
        r"effusions?|hydrothorax|pleural fluid|haemothorax|hemothorax|empyema",
        r"fluids?|blunt\w*|costophrenic|menisc\w+|layering|opaci\w+",
    ),
    "pneumothorax": (
        r"pneumothora(?:x|ces)|hydropneumothorax|collapsed lungs?",
        r"pleural line|lung markings|free air|deep sulcus|collapse\w*|pleural air|hyperlucen\w+",
    ),
    "cardiomegaly": (
        r"cardiomegaly|(?:enlarged|big|large|dilated) (?:heart|cardiac|cardiomediastin\w+)|"
        r"(?:heart|cardiac (?:silhouette|shadow|size|contour)) (?:\w+ ){0,3}?"
        r"(?:enlarged|big|large)|"
        r"enlargement of the heart|cardiac enlargement",
        r"heart|cardi\w+|silhouette",
    ),
    "pulmonary edema": (
        r"(?:pulmonary|alveolar|interstitial|lung) o?edema|vascular congestion|"
        r"(?:heart|cardiac) failure",
        r"o?edema|kerley|congest\w*|cephali[sz]ation|perihilar|bat-?\s?wing|effusions?|"
        r"cardiomegaly|heart|fluid|vascular\w*|opaci\w+|interstitial",
    ),
    "atelectasis": (
        r"atelecta\w+",
        r"collapse\w*|volume loss|loss of volume|shift\w*|elevat\w+|opaci\w+|linear|effusions?",
    ),
    "fracture": (
        r"fractur\w+|broken|break in the (?:bone|cortex)",
        r"cort(?:ex|ical)|displace\w*|lucen\w+|bones?|ribs?|step-?\s?off|disrupt\w*|"
        r"discontinu\w+|trauma\w*|disloc\w+|callus",
    ),
    "mass": (
        r"mass(?:es)?|tumou?rs?|nodul\w+|neoplas\w+|malignan\w+|cancer\w*|carcinomas?|gliomas?|"
        r"meningiomas?|metasta\w+|adenomas?|astrocytomas?|lymphomas?|sarcomas?|lesions?|"
        r"glioblastomas?|cysts?|cystic",
        r"enhanc\w+|growth|opaci\w+|density|densities|irregular\w*|margins?|spicul\w+|focal|"
        r"mass effect|round\w*|pituitary|space-?\s?occupying|abscess\w*|shadow\w*|signal|"
        r"hypo\w+|hyper\w+|circumscribed|benign|lymphaden\w+|echo\w*|calcif\w+|uptake",
    ),
    "hemorrhage": (
        r"ha?emorrhag\w+|bleed\w*|ha?ematomas?|sdh|sah",
        r"blood|hyperdens\w+|hyperattenuat\w+|dens\w+|subdural|epidural|extra-?axial|bright|"
        r"hyperintens\w+|mass effect|midline|crescent\w*|collection\w*",
    ),
    "infarct": (
        r"infarct\w*|strokes?|isch(?:a?)emi\w+",
        r"hypodens\w+|hypoattenuat\w+|diffusion|restrict\w+|hyperintens\w+|territor\w+|occlu\w+|"
        r"cytotoxic|o?edema|bright|signal|artery|mca|aca|pca|dens\w+",
    ),
    "hydrocephalus": (
        r"hydrocephal\w+|ventriculomegaly|(?:dilated|enlarged) (?:lateral )?ventricles",
        r"ventric\w+|dilat\w+|csf|cerebrospinal",
    ),
    "pneumoperitoneum": (
        r"pneumoperitoneum|free (?:intraperitoneal |intra-abdominal )?air",
        r"diaphragm\w*|perforat\w+|gas|lucen\w+",
    ),
    "bowel obstruction": (
        r"(?:bowel|intestinal) obstructions?|ileus|obstructed (?:bowel|loops?)",
        r"dilat\w+|loops?|air-?\s?fluid|obstruct\w*|disten\w+|transition|bowel",
    ),
    "aneurysm": (r"aneurysm\w*", r"dilat\w+|aort\w+|widen\w*|ectas\w+|arter\w+|sac\w*"),
    "stone": (
        r"gallstones?|kidney stones?|calcul(?:us|i)|choleli\w+|nephroli\w+|uroli\w+|stones?",
        r"calcif\w+|shadow\w*|dens\w+|echogen\w+|hydronephro\w+|dilat\w+",
    ),
    "appendicitis": (
        r"appendicitis",
        r"append\w+|fat strand\w*|strand\w+|inflam\w+|fecalith|dilat\w+|cec\w+",
    ),
    "emphysema": (
        r"emphysem\w+|copd|bullae?",
        r"hyperinflat\w+|flatten\w*|lucen\w+|diaphragm\w*|air",
    ),
    "scoliosis": (r"scolio\w+", r"curv\w+|spin\w+|vertebra\w*|lateral"),
}


def findings_named(text: str) -> frozenset[str]:
    """The findings that a text names.

    >>> sorted(findings_named("A consolidation and an enlarged heart."))
    ['cardiomegaly', 'pneumonia']
    >>> findings_named("The lungs are clear.")
    frozenset()
    """
    return frozenset(name for name in _FINDINGS if _names(name).search(text))


def speaks_for(finding: str, text: str) -> bool:
    """Whether a text names a finding, or a sign that readers give for it.

    >>> speaks_for("pneumonia", "There are air bronchograms.")
    True
    >>> speaks_for("pneumonia", "There is a pleural effusion.")
    False
    """
    return bool(_names(finding).search(text) or _signs(finding).search(text))


@cache
def _names(finding: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_FINDINGS[finding][0]})\b", re.IGNORECASE)


@cache
def _signs(finding: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_FINDINGS[finding][1]})\b", re.IGNORECASE)
