"""An export on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from rarl.errors import ReviewError


def push_to_hub(folder: Path, repository: str, private: bool = True) -> str:
    """Put a `datasets` export on the Hugging Face Hub.

    Args:
        folder: what `export(..., "datasets")` wrote.
        repository: "owner/name"; made where it is missing. One that is there must be private, too.
        private: False only where everything in it may be public.

    Returns:
        The address.

    Raises:
        ReviewError: the Hub cannot be reached or refuses, or the repository there is public.
    """
    from httpx2 import HTTPError  # what huggingface_hub itself raises where nobody answers
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if not (folder / "README.md").is_file():
        raise ReviewError("Only a datasets export goes to the Hub; write one first.")
    api = HfApi()
    try:
        place = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.repo_info(repository, repo_type="dataset").private:
            raise ReviewError(
                f"{repository} is public on the Hub; make it private or choose another name."
            )
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=folder)
    except (HTTPError, HFValidationError, OSError):
        raise ReviewError(
            "The Hub cannot be reached or does not take this; check the name and the token "
            "(`hf auth login`) and try again."
        ) from None
    return str(place)
