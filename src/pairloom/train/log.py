"""Training log: one JSON object a line, the same bytes for the same run, killed or not. Times are in a file of their own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake


class Log:
    """Log of a run: `log.jsonl` (numbers) and `times.jsonl` (seconds since this process began) in a folder.

    Opening it at step N removes the lines after N, which a resumed run writes again. report="tensorboard" writes the same
    numbers for TensorBoard too.
    """

    def __init__(self, folder: Path, step: int, report: str = "none") -> None:
        self.file = folder / "log.jsonl"
        self.lines = [line for line in read_log(self.file) if line["step"] <= step]
        with atomic_write(self.file, replace=True) as whole:
            whole.write("".join(map(_line, self.lines)).encode())
        self.stream = open(self.file, "a", encoding="utf-8")
        self.times = open(folder / "times.jsonl", "a", encoding="utf-8")
        self.began = time.monotonic()
        self.board = _board(folder) if report == "tensorboard" else None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line and flush it to the operating system."""
        self.lines.append(dict(line))
        self.stream.write(_line(line))
        self.stream.flush()
        self.times.write(_line({"step": line["step"], "seconds": round(time.monotonic() - self.began, 3)}))
        self.times.flush()
        if self.board is not None:
            for name, value in _flat(line).items():
                self.board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Flush the lines so far to the disk."""
        os.fsync(self.stream.fileno())

    def close(self) -> None:
        self.stream.close()
        self.times.close()
        if self.board is not None:
            self.board.close()


def read_log(file: Path) -> list[dict[str, Any]]:
    """Read a log; an incomplete last line is left out."""
    if not file.is_file():
        return []
    lines = []
    for line in file.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        lines.append(json.loads(line))
    return lines


def _line(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _flat(line: Mapping[str, Any], before: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{before}{name}/"))
        elif name != "step":
            flat[before + name] = float(value)
    return flat


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise Mistake(
            "report=tensorboard needs TensorBoard.", "It is not installed.", "pip install 'pairloom[log]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
