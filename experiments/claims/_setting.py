"""The setting of a run of claims, in a file beside its results, so that results of two settings are never in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake


def write_setting(out: Path, setting: Any) -> None:
    """Write out/setting.json, from a dataclass. Mistake where `out` has results of another setting."""
    file, text = out / "setting.json", json.dumps(asdict(setting), indent=1)
    if file.exists() and file.read_text("utf-8") != text:
        raise Mistake(
            f"{out} holds results of another setting.",
            f"See {file}.",
            "Give the same setting or another --out.",
        )
    with atomic_write(file) as stream:
        stream.write(text.encode())
