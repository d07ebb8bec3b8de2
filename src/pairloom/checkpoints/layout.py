"""Tensors of published layouts: reading files of weights, and converting between published names and ours.

Does not know: any one layout. Nothing is unpickled.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pairloom.blocks.positions import resize_positions
from pairloom.checkpoints.names import STEMS, names_of, shards_of
from pairloom.checkpoints.script import is_script, read_script
from pairloom.errors import Mistake

FILES = tuple(names_of(STEMS[:-1]))
POINTER = b"version https://git-lfs"
WRAPPERS = ("_orig_mod.", "module.", "model.")
_noted: ContextVar[list[str] | None] = ContextVar("prefixes that were taken off", default=None)


@dataclass(frozen=True)
class Place:
    """The place of one of our tensors in a published layout. names: its published names; tied parts have several, and any of
    them may be read.

    third: our tensor is this one of the `of` equal parts of a fused tensor, such as query-key-value; None: it is the whole.
    flipped: the published tensor is transposed. lead: number of leading axes of size 1 that the published tensor lacks.
    """

    names: tuple[str, ...]
    third: int | None = None
    flipped: bool = False
    lead: int = 0
    of: int = 3

    def ours(self, theirs: Tensor) -> Tensor:
        """Convert a published tensor to ours; one that is no part of a fused tensor, or no matrix to transpose, stays as it is."""
        if self.third is not None and theirs.ndim:
            theirs = theirs.chunk(self.of)[self.third]
        return (theirs.T if self.flipped and theirs.ndim == 2 else theirs)[(None,) * self.lead]

    def theirs(self, ours: Tensor) -> Tensor:
        """Convert our tensor to the published form; a part of a fused tensor stays by itself."""
        ours = ours[(0,) * self.lead]
        return (ours.T if self.flipped else ours).detach().contiguous()


@dataclass
class Moved:
    """Converted tensors. tensors: by our names. missing: our names that the file lacks. left: published names that no tensor of
    ours uses."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def demand(self, name: str, where: Path) -> None:
        """Raise Mistake where this tensor is missing."""
        if name not in self.tensors:
            raise Mistake(
                f"{where} has nothing for '{name}'.", "It is another kind of model.", "Name another file."
            )

    def whole(self, where: Path, may_miss: Sequence[str] = ()) -> Moved:
        """Raise Mistake where anything is missing or left over. may_miss: prefixes of our names that the file may lack."""
        missing = [name for name in self.missing if not name.startswith(tuple(may_miss))]
        if missing or self.left:
            reasons = [f"Missing: {_few(missing)}."] * bool(missing) + [
                f"Not known here: {_few(self.left)}."
            ] * bool(self.left)
            raise Mistake(
                f"The weights in {where} do not fit their layout.",
                " ".join(reasons),
                "They are another kind of model, or the file is not whole.",
            )
        return self

    def into(self, system: nn.Module) -> None:
        """Copy the tensors into a system, in place."""
        target = dict(system.state_dict(keep_vars=True))
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                target[name].copy_(tensor)


def read(where: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or torch file, or of the model file in a folder, without the prefixes of wrappers that
    all names share. Mistake where there are none."""
    return unwrapped(_tensors(where))


def unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that every name has: of torch.compile, DistributedDataParallel and Lightning, in any
    order. Who reads within `noting_prefixes` learns which."""
    while prefix := _shared_prefix(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if (noted := _noted.get()) is not None:
            noted.append(prefix)
    return tensors


@contextmanager
def noting_prefixes() -> Iterator[list[str]]:
    """The prefixes that are taken off the names of tensors within the block, in order."""
    noted: list[str] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def _shared_prefix(names: Iterable[str]) -> str:
    names = list(names)
    return next((one for one in WRAPPERS if names and all(name.startswith(one) for name in names)), "")


def _tensors(where: Path) -> dict[str, Tensor]:
    if where.is_dir():
        files = [where / name for name in FILES if (where / name).is_file()]
        if not files:
            raise Mistake(
                f"{where} has no weights.",
                f"Looked for {', '.join(FILES[:4])} and the like.",
                "Name the file itself.",
            )
        where = files[0]
    if not where.exists():
        raise Mistake(f"There is nothing at {where}.", "The path does not exist.", "Check the spelling.")
    demand_content(where)
    if re.fullmatch(r".+\.index(\.\w+)?\.json", where.name):
        return _parts(where)
    try:
        if where.suffix == ".safetensors":
            return load_file(where)
        if is_script(where):
            return read_script(where)
        lazy = zipfile.is_zipfile(where)  # older files are one stream
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the unpickler warns of what it then refuses
            tensors = torch.load(where, map_location="cpu", weights_only=True, mmap=lazy)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        why = str(error).split("\n")[0].split(". ")[0]
        raise Mistake(f"{where} cannot be read as weights.", f"{why}.", "Copy the file again.") from error
    except Exception as error:  # the unpickler's own refusals
        raise Mistake(
            f"{where} holds more than tensors.",
            "Such files can run code and are not opened.",
            "Ask the publisher for a .safetensors file.",
        ) from error
    for entry in ("model", "state_dict", "model_state_dict"):
        tensors = tensors.get(entry, tensors) if isinstance(tensors, Mapping) else tensors
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise Mistake(
            f"{where} is not a table of tensors.",
            "",
            "Give a checkpoint with a 'model' entry or bare tensors.",
        )
    return dict(tensors)


def unknown(where: Path, kind: str) -> Mistake:
    """The Mistake about a file of weights that no layout can read, with a description of its tensors. Reading the file may
    raise a Mistake of its own."""
    names = list(read(where))
    return Mistake(
        f"{where} holds the weights of a model that is not known here.",
        f"It is {kind}; its tensors are called {', '.join(names[:3])}{' ...' * (len(names) > 3)}.",
        "docs/weights.md lists what can be loaded. Of transformers, diffusers and pairloom, name the folder.",
    )


def peek(where: Path) -> set[str]:
    """The names of the tensors in a file, without reading the tensors where its format allows that; empty where it is no file
    of tensors."""
    if where.suffix not in (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".model"):
        return set()
    try:
        state = where.stat()
        return _names_in(where, state.st_mtime_ns, state.st_size)
    except OSError:
        return set()


@lru_cache(1)
def _names_in(where: Path, changed: int, size: int) -> set[str]:
    """Every layout asks for the names of the same file, and older formats are read as a whole. changed, size: a file that is
    written anew is read anew."""
    try:
        if where.suffix == ".safetensors":
            with safe_open(where, "pt") as file:
                return set(file.keys())
        return set(read(where))
    except (Mistake, OSError, SafetensorError):
        return set()


def _parts(index: Path) -> dict[str, Tensor]:
    """The tensors of a model that is split into several files, as its index lists them."""
    names = shards_of(index)
    if not names:
        raise Mistake(f"{index} is not an index of weights.", "It lists no files.", "Copy the folder again.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= _tensors(index.with_name(name))
    return tensors


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Rename by the first rule whose pattern matches the whole name; KeyError where none does."""
    for pattern, there in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(there)
    raise KeyError(name)


def take(theirs: Mapping[str, Tensor], places: Mapping[str, Place], ours: Mapping[str, Tensor]) -> Moved:
    """Convert published tensors to our names and to the shapes of `ours`: a table of positions is resized, and a vocabulary
    that is a few rows shorter keeps our last rows. Mistake for any other difference in shape."""
    moved = Moved()
    used: set[str] = set()
    for name, place in places.items():
        there = [other for other in place.names if other in theirs]
        used.update(place.names)
        if not there:
            moved.missing.append(name)
            continue
        for other in there[1:]:
            if not torch.equal(theirs[other], theirs[there[0]]):
                raise Mistake(f"'{there[0]}' and '{other}' differ.", "Here they are one tensor.", "")
        moved.tensors[name] = _fit(name, place.ours(theirs[there[0]]), ours[name], there[0])
    moved.left = sorted(set(theirs) - used)
    return moved


def shape_of(theirs: Mapping[str, Tensor], name: str, axes: int, where: Path, kind: str) -> tuple[int, ...]:
    """The shape of a published tensor from which sizes of a network follow. kind: of model, for the Mistake where the tensor is
    missing, has another number of axes, or no numbers."""
    shape = tuple(theirs[name].shape) if name in theirs else ()
    if len(shape) != axes or not all(shape):
        held = (
            f"'{name}' is {list(shape)}; it should have {axes} axes."
            if name in theirs
            else f"It lacks '{name}'."
        )
        raise Mistake(f"{where} is not {kind}.", held, "Copy the file again, as it was published.")
    return shape


def give(ours: Mapping[str, Tensor], places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Convert our tensors to the published names: the inverse of `take`."""
    tensors: dict[str, Tensor] = {}
    thirds: dict[str, dict[int, Tensor]] = {}
    for name, place in places.items():
        for there in place.names:
            if place.third is None:
                tensors[there] = place.theirs(ours[name])
            else:
                thirds.setdefault(there, {})[place.third] = place.theirs(ours[name])
    return tensors | {
        there: torch.cat([parts[index] for index in sorted(parts)]) for there, parts in thirds.items()
    }


def demand_content(where: Path) -> None:
    """Raise Mistake for a git-lfs pointer: a few lines of text in the place of a file."""
    try:
        with open(where, "rb") as file:
            begins = file.read(len(POINTER))
    except OSError:
        return
    if begins == POINTER:
        raise Mistake(
            f"{where} is a git-lfs pointer, not the weights.",
            "The repository was cloned without its large files.",
            "Run `git lfs pull` there, or: pairloom import NAME --download --out DIR",
        )


def _fit(name: str, tensor: Tensor, ours: Tensor, there: str) -> Tensor:
    if ours.is_floating_point() and not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise Mistake(
            f"'{there}' holds {kind} numbers: the weights are quantised.",
            "What scales them is not read here.",
            "Load them with the library that wrote them, and save them in fp16 or fp32.",
        )
    if tensor.shape == ours.shape:
        return tensor
    table = name.endswith(("embed.positions", "pool.positions")) and tensor.ndim == 3 and tensor.numel()
    if table and tensor[:1, :1].shape == ours[:1, :1].shape:
        with suppress(ValueError):  # a table of another number of patches, where these are no square
            return resize_positions(tensor, ours.shape[1])
    short = (
        len(ours) - len(tensor) if tensor.ndim == ours.ndim > 0 and tensor.shape[1:] == ours.shape[1:] else 0
    )
    if (
        name.endswith(("words.weight", "head.bias")) and 0 < short <= 2
    ):  # BERT's vocabulary lacks [DEC] and [ENC]
        return torch.cat([tensor, ours[-short:].detach().to(tensor)])
    raise Mistake(
        f"'{there}' does not fit this system.",
        f"It is {list(tensor.shape)}; '{name}' is {list(ours.shape)}.",
        "Use the config of the checkpoint (size, vocabulary, sharing).",
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
