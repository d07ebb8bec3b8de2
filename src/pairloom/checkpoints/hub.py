"""Models of the Hugging Face hub in the local cache. Nothing is downloaded.

HF_HUB_OFFLINE, HF_HOME and HF_HUB_CACHE are honoured as huggingface_hub reads them.
"""

from __future__ import annotations

import re
from pathlib import Path


def cached(name: str) -> Path | None:
    """The snapshot of a hub id in the local cache, whatever part of it was fetched; None where there is none, or the name is no
    id.

    huggingface_hub since 1.22 calls a snapshot incomplete where any file of the repository is missing, so that a model that was
    fetched by patterns (as pairloom, transformers and diffusers do) is looked up in the cache's folders.
    """
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        return None
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (ValueError, OSError):  # of every version: what it raises for what is not there is one of them
        return _snapshot(Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}")


def _snapshot(repository: Path) -> Path | None:
    """The snapshot of the branch `main`, else the newest."""
    try:
        commit = (repository / "refs" / "main").read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = ""
    if commit and (repository / "snapshots" / commit).is_dir():
        return repository / "snapshots" / commit
    snapshots = [entry for entry in repository.glob("snapshots/*") if entry.is_dir()]
    return max(snapshots, key=lambda entry: entry.stat().st_mtime, default=None)
