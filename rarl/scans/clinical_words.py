"""Words of clinical questions, which name nobody though a header may hold them as well."""

from __future__ import annotations

from rarl.scans.description import PROTOCOL_WORDS
from rarl.scans.spelling import normal

_FINDINGS = frozenset(
    """
    abnormal abnormality abscess acute adenoma air amyloid anemia anomaly aneurysm appendicitis
    arthritis arthrosis ascites asthma asymmetry atelectasis atrophy benign bleed bleeding blockage
    bruise bypass calcification calcified calculus callus cancer carcinoma cardiomegaly cavity
    chronic clot collapse compression congestion consolidation contusion cough cyst cystic
    deformity degeneration density dilated dilation disc disease dislocation displaced displacement
    dissection drain drusen dyspnea edema effusion embolism emphysema enlarged enlargement
    enhancement epilepsy erosion fever fibrosis finding fistula fluid focal focus fracture free
    ganglioglioma gas glioblastoma glioma goiter gout granuloma headache hematoma haematoma
    hemorrhage haemorrhage hepatitis hernia herniation hydrocephalus hydrothorax hyperdense
    hyperplasia hypodense implant implants infarct infarction infection infiltrate inflammation
    injury intense intensity ischemia ischaemia kidney leak lesion lesions leukemia lipoma lucency
    lump lymph lymphoma malignancy malignant margin margins marrow mass masses melanoma meningioma
    meningitis metastases metastasis metastatic microcalcification midline migraine multiple
    myeloma narrowing necrosis nerve nodular nodule nodules normal obstruction occlusion oedema
    opacity osteophyte osteoporosis pain palsy pancreatitis penumbra perforation perfusion
    pericarditis pituitary plaque pleura pleural pneumonia pneumothorax polyp pulmonary reflux
    rupture sarcoma scar sclerosis screening seizure sepsis shift shunt side silicosis sinusitis
    size skin solid spur stenosis stent stone stones stroke swelling symptom symptoms syndrome
    tear thickening thrombosis thrombus thyroiditis torsion trauma treatment tuberculosis tumor
    tumors tumour tumours ulcer varices vascular vasculitis vertigo wound artery arteries bile
    bladder bowel breasts bronchus bulb capsule caudate cerebellum cord cortex diaphragm duct ears
    esophagus eye eyes femur finger fingers fundus gallbladder gland hilum intestine jaw joint
    joints lens ligament lobe lobes lungs mouth muscle nose orbits ovaries ovary pleurae rib ribs
    rectum retina scalp sternum stomach tendon testis thumb toe toes tonsil tooth teeth trachea
    ureter urethra uterus valve ventricle ventricles vertebra vertebrae patient contrast
    """.split()
)
CLINICAL_WORDS = _FINDINGS | PROTOCOL_WORDS


def is_clinical(text: str, start: int, end: int) -> bool:
    """Whether a piece of a text is clinical words alone, and not written as a name.

    Inside a sentence a capital makes a name: "Is Stroke well?".

    >>> is_clinical("Is there a stroke?", 11, 17), is_clinical("Is Stroke well?", 3, 9)
    (True, False)
    """
    piece = text[start:end]
    words = normal(piece).split()
    if not words or not all(word in CLINICAL_WORDS for word in words):
        return False
    before = text[:start].rstrip()
    begins = not before or before[-1] in ".?!:;\n"
    return piece.isupper() or not piece[:1].isupper() or begins
