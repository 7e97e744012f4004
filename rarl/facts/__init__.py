"""The facts label of a variant: what it is for, made from, measured at, and what it cannot do."""

from rarl.facts.chai import applied_model_card
from rarl.facts.label import Facts, TrainingSet, facts_of
from rarl.facts.measured import Measured, held_out_accuracy

__all__ = [
    "Facts",
    "Measured",
    "TrainingSet",
    "applied_model_card",
    "facts_of",
    "held_out_accuracy",
]
