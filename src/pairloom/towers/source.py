"""Where a tower's files lie: a file of weights, a folder, or a zip that holds one.

A zip is read in memory: nothing is extracted. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pairloom.errors import Mistake
from pairloom.weights.layout import FILES, read

CHUNK = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True)
class Source:
    """A file of weights, a folder or a zip. root: the folder of the files, or its like in the zip. file: of the weights."""

    where: Path
    root: Path | zipfile.Path
    file: Path | zipfile.Path

    def document(self, name: str) -> dict[str, Any]:
        """The object in a JSON file; empty where there is none."""
        data = self.data(name)
        try:
            document = json.loads(data) if data is not None else {}
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def listing(self, name: str) -> list[Any]:
        """The list in a JSON file; empty where there is none."""
        data = self.data(name)
        try:
            entries = json.loads(data) if data is not None else []
        except ValueError:
            return []
        return entries if isinstance(entries, list) else []

    def data(self, name: str) -> bytes | None:
        """The bytes of a file beside the weights; None where there is none. A bare file of weights has nothing beside it."""
        if self.root == self.where.parent:
            return None
        file = self.root.joinpath(name)
        return file.read_bytes() if file.is_file() else None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the weights. Mistake where they cannot be read."""
        if isinstance(self.file, Path):
            return read(self.file)
        try:
            return load(self.file.read_bytes())
        except (SafetensorError, zipfile.BadZipFile, OSError, ValueError) as error:
            raise Mistake(
                f"{self.file} cannot be read as weights.", f"{error}.", "Copy the file again."
            ) from error

    def checksum(self) -> str:
        """SHA-256 of the file of weights; of weights in several files, that of their hashes in order."""
        if str(self.file.name).endswith(".index.json"):
            parts = sorted(set(json.loads(self.file.read_text("utf-8"))["weight_map"].values()))
            hashes = [_hash(self.root.joinpath(Path(part).name)) for part in parts]
            return hashlib.sha256("".join(hashes).encode()).hexdigest()
        return _hash(self.file)

    def checked(self, expected: str | None) -> str:
        """The checksum. Mistake where another one is expected."""
        checksum = self.checksum()
        if expected is not None and checksum != expected:
            raise Mistake(
                f"{self.where} is not the published file.",
                f"SHA-256 of its weights: {checksum}; expected: {expected}.",
                "Install the package again, or name another tower.",
            )
        return checksum


def open_source(where: Path) -> Source:
    """The files of a tower. Mistake where there are no weights."""
    if where.is_file() and where.suffix == ".zip":
        root = zipfile.Path(where)
        file = root / "model.safetensors"
        if not file.is_file():
            raise Mistake(
                f"{where} has no weights.",
                "A zip holds model.safetensors at its top.",
                "Name the folder, unpacked.",
            )
        return Source(where, root, file)
    if where.is_dir():
        files = [where / name for name in FILES if (where / name).is_file()]
        if not files:
            raise Mistake(
                f"{where} has no weights.", f"Looked for {' and '.join(FILES)}.", "Name the file itself."
            )
        return Source(where, where, files[0])
    return Source(where, where.parent, where)


def _hash(file: Path | zipfile.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
