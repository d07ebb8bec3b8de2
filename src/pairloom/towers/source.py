"""Where a tower's files lie: a file of weights, a folder, or a zip that holds one.

A zip is read in memory: nothing is extracted. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pairloom.checkpoints.layout import FILES, read
from pairloom.errors import Mistake

CHUNK = 1 << 20  # bytes that are hashed at a time
# what reading a config raises that says what cannot be
SPOILT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


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
            return load(self._unzipped)
        except (SafetensorError, ValueError) as error:
            raise Mistake(
                f"{self.file} cannot be read as weights.", f"{error}.", "Copy the file again."
            ) from error

    def checksum(self) -> str:
        """SHA-256 of the file of weights; of weights in several files, that of their hashes in order."""
        if str(self.file.name).endswith(".index.json"):
            try:
                parts = sorted(set(json.loads(self.file.read_text("utf-8"))["weight_map"].values()))
                hashes = [_hash(self.where / Path(part).name) for part in parts]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise unusable(self.where, error) from error
            return hashlib.sha256("".join(hashes).encode()).hexdigest()
        return _hash(self.file) if isinstance(self.file, Path) else hashlib.sha256(self._unzipped).hexdigest()

    @cached_property
    def _unzipped(self) -> bytes:
        """The weights of a zip, which are read and hashed."""
        try:
            return self.file.read_bytes()
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
            raise Mistake(f"{self.file} cannot be read.", f"{error}.", "Copy the file again.") from error

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
        root = _root(where)
        file = root / "model.safetensors"
        if not file.is_file():
            raise Mistake(
                f"{where} has no weights.",
                "Looked for model.safetensors in it.",
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


def _root(where: Path) -> zipfile.Path:
    """The top of a zip, or the only folder in it. Mistake where it is no zip."""
    try:
        top = zipfile.Path(where)
    except (zipfile.BadZipFile, OSError) as error:
        raise Mistake(f"{where} is no zip.", f"{error}.", "Copy the file again.") from error
    entries = list(top.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else top


def unusable(where: Path, error: Exception) -> Mistake:
    """The Mistake about configs beside weights that say what cannot be."""
    return Mistake(
        f"The configs in {where} do not describe its weights.",
        f"{type(error).__name__}: {error}.",
        "Copy the folder again.",
    )


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
