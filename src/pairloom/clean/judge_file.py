"""Description of a saved judge, judge.json: it is written last, since it marks a complete judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pairloom
from pairloom.clean.calibrate import Calibration
from pairloom.data.disk import atomic_write

FILE, VERSION = "judge.json", 6


def write_judge(folder: Path, facts: dict[str, Any], calibration: Calibration | None) -> None:
    """Write judge.json with these facts about a judge."""
    described = {
        "pairloom": pairloom.__version__, "judge": VERSION, **facts,
        "calibration": None if calibration is None else calibration.to_dict(),
    }  # fmt: skip
    with atomic_write(folder / FILE, replace=True) as out:
        out.write((json.dumps(described, indent=1) + "\n").encode())


def is_judge(folder: Path | str) -> bool:
    """Whether a folder holds a saved judge."""
    return (Path(folder) / FILE).is_file()
