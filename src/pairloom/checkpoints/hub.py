"""Models of the Hugging Face hub in the local cache. Nothing is downloaded.

HF_HOME and HF_HUB_CACHE are honoured by huggingface_hub itself.
"""

from __future__ import annotations

import re
from pathlib import Path


def cached(name: str) -> Path | None:
    """The newest snapshot of a hub id in the local cache; None where there is none, or the name is no id."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, ValueError, OSError):
        return None
