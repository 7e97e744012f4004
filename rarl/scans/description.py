"""Describe a series in words that identify nobody."""

from __future__ import annotations

import re

# Words of protocols and series in the languages of the archives tried; no free text passes.
_WORDS = frozenset(
    """
    abd abdomen abdominal adc aligned angio angiogram angiography ankle aorta ap apparent arm art
    arterial arterielle av ax axial b0 base basis beckenuebersicht bh biopsy blade blood body bold
    bone bones brain brainstem breast breath bron bw c calc cardiac carotid cath ce cemra cerebral
    cervical cest chest cine ciss cm cneck coeff colon color colour con contrast cor coro coronal
    coronar coronary cow cranial crane crane cs cspine csp ct cta ctp curved cxr dark dce delay
    delayed derived diff diffusion dixon dose dti dual dwi dyn dynamic early echo ecg elbow
    enhanced ep epi exp expiration expiratory ext face fast fat fb ffe fiesta filter fine first fl
    flair flash flow flowspin fluid fluoro fmri foot forearm fov frontal fs fse full fusion ga gad
    gated gd gradient gre gri guidance haste hd head heart high hip hr hrct humerus iac iliac image
    in inner insp inspiration inspiratory ir iso ivim jugular k kidney knee kontrast l lat late
    lateral left leg leva lesion level liver llat lo loc localiser localizer localizers longitudinal
    low lower ls lspine lumbar lung lunge m mag magnitude map mapping maps mdc mediastinum medium
    mergeddata mip mm mmip minip moco mono mp mpr mprage mr mra mrcp mri mrv ms multi myelo myo
    native nativ nc neck neg no non nonattenuated of ohne on op opp oppose opposed or oral orbit
    orbita out overlay p pa pancreas parallel pe pelvis perf perfusion pet ph phase phases pituitary
    plain plus pm portal pos positive post posterior postgd pre pri prob projection prone propeller
    prostate pt pulm pulmonary q qc quick r ra radial raw rec recon reformat reg registered rendered
    renal report resolution rest rf right rl rotation routine s sag sagittal sagital save scan scout
    screen sd se seg segmentation sella sense sep seq sequence series shoulder shot sinus skull sl
    slab slice slices smartprep soft space spair spgr spin spine spiral spir spoiled spleen sr ss
    standard star stir stress study sub subtraction sum supine survey susc suv sw swi t t1 t1w t2
    t2w t2star tairm te technical test tfe thick thin thins thorax thoracic thorakal thyroid tibia
    tilt time tirm tissue tlspine tof topo topogram tr tra trace tracew trans transversal transverse
    trufi tse ts tumor tumour turbo tx uhr ultra upper uro us ute v vein venous ven venoes venosa
    vessel vibe view vol volume w wb weighted whole window wirbelsaeule with without wo wrist x xr
    z zoom 2d 3d 4d cerebrum schaedel hals becken leber niere knie hueft schulter hand fuss
    arteriell crane cerveau poumon foie rachis coupe fin os craneo torax pulmon higado columna
    cuello encefalo colonna addome polmone fegato
    """.split()
)
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,3})?(?:mm|cm|s|ms|hu|kv|kev|t|d|x)?|[btec]\d{1,4}")
_KERNEL = re.compile(r"[bhiujqtsd][rfvpsuew]?\d{2}[fsh]?")
_LONGEST = 64


def series_description(text: object) -> str:
    """The known words and short numbers of a Series Description, in their order.

    It is free text, into which people type names: a word that is not of the trade is left out.

    >>> series_description("t2_tse_tra 3mm"), series_description("AX T1 POST GD / Mueller, Eva")
    ('t2 tse tra 3mm', 'AX T1 POST GD')
    >>> series_description(None)
    ''
    """
    if not isinstance(text, str):
        return ""
    kept = []
    for word in re.findall(r"[\w.,]+", text.replace("_", " ")):
        plain = word.strip(".,").casefold()
        if plain in _WORDS or _NUMBER.fullmatch(plain) or _KERNEL.fullmatch(plain):
            kept.append(word.strip(".,"))
    return " ".join(kept)[:_LONGEST].strip()
