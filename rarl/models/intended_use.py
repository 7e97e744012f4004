"""What every variant is for and not for; model cards and facts labels say the same."""

from __future__ import annotations

INTENDED_USE = (
    "Research on medical vision-language models, and teaching. A person who can read the image "
    "asks a question about it, reads answer and reasoning, and judges both."
)
USERS = "Researchers, and clinicians who take part in research."
HOW_TO_USE = (
    "Open an image, ask one question at a time, and compare the answer with the image. Flag what "
    "is wrong. The reasoning is text of the model too, and no evidence."
)
OUT_OF_SCOPE = (
    "Any use in the care of a patient: diagnosis, triage, treatment, screening or a report that "
    "nobody has checked. It is not a medical device and no authority has approved it."
)
LIMITS = (
    "An answer can be fluent, certain and wrong.",
    "A variant answers about images of kinds that it has never seen.",
    "An answer that bears no mark of the app's checks is not confirmed by that.",
    "A volume is read as single slices: what only neighbouring slices show is not seen.",
    "Accuracy by sex, age, origin or scanner has not been measured.",
)
