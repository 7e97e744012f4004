"""How text is drawn from the model."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from rarl.records._base import known_fields, value


@value
class Decoding:
    """How text is drawn from the model."""

    max_new_tokens: int = Field(default=256, description="Completion limit, in tokens.")
    temperature: float = Field(default=0.0, description="0 is greedy.")
    top_p: float = Field(default=1.0, description="Nucleus mass, used where temperature > 0.")
    seed: int = Field(default=0, description="Used where temperature > 0.")

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        """From a stored row; settings that only another version knows are left out."""
        return cls(**known_fields(cls, row))
