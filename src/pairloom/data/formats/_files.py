"""Files of a set: which names are images, walking a folder, finding and placing images.

Does not know: any one format, texts, pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from pairloom.data.disk import link, write_together
from pairloom.data.disk import readable as readable
from pairloom.data.pair import Blob, Pair
from pairloom.errors import Mistake

IMAGES = set(
    ".jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo .png .apng .webp .gif .bmp .dib .ico .tif .tiff .avif .avifs .jp2 .j2k .j2c .jpc"
    " .jpf .jpx .ppm .pgm .pbm .pnm".split()
)
# photographs that no decoder here reads; one without a text is a pair too, so that it is told
UNREAD = set(
    ".heic .heif .hif .jxl .jxr .wdp .cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .svg .exr .hdr .dcm .psd .tga .dds .qoi .pcx .sgi".split()
)
FOREIGN = {
    "Thumbs.db",
    "@eaDir",
    "__MACOSX",
    "$RECYCLE.BIN",
    "System Volume Information",
}  # thumbnails and rubbish of systems
OURS = {
    "pairs.parquet",
    "run.json",
    "plan.json",
    "report.html",
    "report.json",
}  # what a clean set carries beside its pairs
FIRST, DEEPEST = 100, 4  # folders below a folder that are looked into, and how far below, for sniffing
MAGIC = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"P5": ".pgm",
    b"P6": ".ppm",
    b"\0\0\0\x0cjP": ".jp2",
}

Value = TypeVar("Value")
_KNOWN: ContextVar[dict[Any, Any] | None] = ContextVar("known", default=None)


@contextmanager
def unchanging() -> Iterator[None]:
    """Context in which the disk is taken to stay as it is: what `once` marks is computed once, however many formats ask."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def once(function: Callable[..., Value]) -> Callable[..., Value]:
    """Decorator of a function of what lies on the disk: within `unchanging`, its value for the same arguments is kept."""

    @wraps(function)
    def kept(*args: Any) -> Value:
        known = _KNOWN.get()
        if known is None:
            return function(*args)
        if (key := (function, *args)) not in known:
            known[key] = function(*args)
        value: Value = known[key]
        return value

    return kept


def split(name: str) -> tuple[str, str]:
    """A file name as stem and lower-case suffix: "a/b.c.JPG" -> ("a/b.c", ".jpg")."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, "." + suffix.lower()) if dot and "/" not in suffix and stem else (name, "")


def is_image(name: str) -> bool:
    """Whether a file name is an image's, by its suffix."""
    return split(name)[1] in IMAGES


def number_of(stem: str) -> int | None:
    """The number that a file's stem is, whatever zeros stand before it; None for others."""
    return int(stem) if re.fullmatch(r"[0-9]{1,18}", stem) else None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of any set, by its name."""
    return name.startswith(".") or name in FOREIGN


def suffix_of(data: bytes) -> str:
    """The file suffix for encoded image bytes, by their first bytes; ".jpg" where they say nothing."""
    return kind_of(data) or ".jpg"


def kind_of(data: bytes) -> str:
    """The file suffix of an image by its first bytes; "" where they are of no image that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for magic, suffix in MAGIC.items() if data.startswith(magic)), "")


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder below root as ("sub/", sorted names of its regular files): a fixed order, hidden and ours left out.

    Links are followed, but no folder is entered twice. One folder's names at a time are in memory.
    """
    yield from _walk(root, "", set())


def _walk(root: Path, inside: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, list[str]]]:
    here = root / inside
    about = os.stat(here)
    if (about.st_dev, about.st_ino) in seen:
        return
    seen.add((about.st_dev, about.st_ino))
    files, folders = [], []
    with os.scandir(here) as entries:
        for entry in entries:
            if is_hidden(entry.name) or (not inside and entry.name in OURS):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():  # no pipes, sockets or dead links: opening one could wait for ever
                files.append(entry.name)
    yield inside, sorted(files)
    for name in sorted(folders):
        yield from _walk(root, f"{inside}{name}/", seen)


def first_files(root: Path, suffixes: Iterable[str]) -> list[str]:
    """Names relative to root of the files with such a suffix in it and in its first folders, those nearest to it first: a quick look,
    for sniffing."""
    by_suffix = _first_files(root)
    return sorted(name for suffix in set(suffixes) for name in by_suffix.get(suffix, ()))


@once
def _first_files(root: Path) -> dict[str, list[str]]:
    """Suffix -> names of the files in a folder and in the first folders below it; a folder that a link leads back to is not one."""
    by_suffix: dict[str, list[str]] = {}
    seen = {_identity(folder) for folder in root.resolve().parents}
    level, left = [""], FIRST + 1
    for _ in range(DEEPEST + 1):
        inner: list[str] = []
        for inside in level[:left]:
            if (identity := _identity(root / inside)) not in seen:
                seen.add(identity)
                left -= 1
                inner += (f"{inside}{name}/" for name in sorted(_add_files(root, inside, by_suffix)))
        level = inner
    return by_suffix


def _identity(folder: Path) -> tuple[int, int]:
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def _add_files(root: Path, inside: str, by_suffix: dict[str, list[str]]) -> list[str]:
    """Add a folder's files, and return the names of its folders."""
    folders = []
    with os.scandir(root / inside) as entries:
        for entry in entries:
            name = entry.name
            if is_hidden(name) or (not inside and name in OURS):
                continue
            if entry.is_file():
                by_suffix.setdefault(split(name)[1], []).append(inside + name)
            elif entry.is_dir():
                folders.append(name)
    return folders


@once
def picture_stems(folder: Path) -> set[str | int]:
    """Stems of the pictures in a folder and in its first folders, without their folders, and the numbers that these are."""
    stems = {split(name)[0].rpartition("/")[2] for name in first_files(folder, IMAGES)}
    return stems | {number for stem in stems if (number := number_of(stem)) is not None}


def safe(name: str) -> str:
    """A relative path that stays where it is put: no root, drive, "..", hidden or over-long parts, no control characters."""
    parts = []
    for part in re.split(r"[/\\]+", re.sub(r"[\x00-\x1f\x7f]", "_", name)):
        part = part.lstrip(".").replace(":", "_") if part not in ("", ".", "..") else ""
        raw = part.encode("utf-8", "replace")
        if len(raw) > 200:  # a disk takes 255 bytes, and temporaries and suffixes need some
            stem, suffix = split(part)
            part = raw[: 200 - len(suffix)].decode("utf-8", "ignore") + suffix
        if part:
            parts.append(part)
    return "/".join(parts)


class Names:
    """File names for the pairs of one shard, none given twice to different pictures."""

    def __init__(self) -> None:
        self.taken: dict[str, object] = {}

    def give(self, wanted: str, identity: object, salt: str) -> str:
        """`wanted`, or with the salt in its stem where another identity has it."""
        stem, suffix = split(wanted)
        suffix = wanted[len(stem) :]
        name, count = wanted, 1
        while self.taken.setdefault(name, identity) != identity:
            name = f"{stem}-{salt}{suffix}" if count == 1 else f"{stem}-{salt}-{count}{suffix}"
            count += 1
        return name


def image_name(pair: Pair) -> str:
    """The relative file name under which a writer stores a pair's image: the set's own, made safe."""
    name = safe(pair.image.name) or safe(pair.name) or pair.image_key[:20]
    return name if is_image(name) else name + suffix_of(pair.image.read())


def is_file(blob: Blob) -> bool:
    """Whether a picture is a file of its own, that can be linked."""
    return blob.path is not None and not blob.offset and blob.size is None


def place_images(out: Path, pairs: list[Pair], names: list[str]) -> None:
    """The images of a shard: links for whole files, their bytes otherwise. Never writes over another file.

    Two pictures of one name in different shards are a Mistake that says so.
    """
    chosen = {name: pair.image for pair, name in zip(pairs, names)}  # rows may share a picture
    try:
        write_together(
            (out / name, blob.read())
            for name, blob in chosen.items()
            if not (blob.path and is_file(blob) and link(blob.path, out / name))
        )
    except Mistake as mistake:
        if not mistake.what.endswith("exists already."):
            raise
        why = "Another picture of the set has the same name, or the file was there before."
        raise Mistake(mistake.what, why, "Choose an empty folder, or write tar shards instead.") from mistake
