"""The setting of a run of claims, kept beside its results: results of two settings never stand in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake


def keep(out: Path, setting: Any) -> None:
    """Write out/setting.json, of a dataclass. Mistake where `out` holds results of another setting."""
    file, told = out / "setting.json", json.dumps(asdict(setting), indent=1)
    if file.exists() and file.read_text("utf-8") != told:
        raise Mistake(
            f"{out} holds results of another setting.",
            f"See {file}.",
            "Give the same setting or another --out.",
        )
    with atomic_write(file) as stream:
        stream.write(told.encode())
