"""Name the extra to install where a command needs a missing package."""

from __future__ import annotations

# A module that only an extra of the wheel installs, and that extra (see pyproject.toml).
EXTRAS = {
    "accelerate": "models",
    "datasets": "train",
    "fhir": "reports",
    "gradio": "app",
    "highdicom": "reports",
    "httpx": "pacs",
    "matplotlib": "train",
    "nltk": "train",
    "pandas": "train",
    "peft": "models",
    "psycopg": "postgres",
    "python_multipart": "pacs",
    "reportlab": "app",
    "safetensors": "models",
    "tokenizers": "models",
    "torch": "models",
    "torchmetrics": "train",
    "transformers": "models",
    "trl": "train",
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """One sentence that names the extra to install, or None where the module is of no extra.

    >>> missing_extra(ModuleNotFoundError(name="trl.trainer"))
    "This needs the package trl, which is not installed: pip install 'rarl[train]'"
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return (
        f"This needs the package {module}, which is not installed: "
        f"pip install 'rarl[{EXTRAS[module]}]'"
    )
