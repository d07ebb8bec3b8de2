"""Reed's captions of birds and flowers (cvpr2016, icml2016): texts in `text_c10/CLASS/NAME.txt`, one a line, ten of a picture;
pictures in `images/CLASS/NAME.jpg`, or in `jpg/NAME.jpg` as Oxford's flowers have them. Classes of training and test are disjoint:
`trainvalclasses.txt`, `testids.txt` and the like, opened in place of the folder, are the pictures of their classes.

A pair's class is its metadata `class`. Does not know: Torch's files (.t7), which lie beside the texts in the release; texts' sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pairloom.data.disk import readable, write_together
from pairloom.data.formats import _files, _look
from pairloom.data.formats._texts import lines_of, pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import SIZE, ColumnNames, Shard
from pairloom.errors import Mistake

CLAIM = "captions in text_c10/CLASS/NAME.txt beside images/CLASS/NAME.jpg (Reed's birds and flowers)"
HOLDS: tuple[str, ...] = ()  # beyond image and texts
TEXTS, PICTURES = _look.CLASS_TEXTS, "images"  # where they are written
FOLDERS = (PICTURES, "CUB_200_2011/images", "jpg")  # where pictures are looked for
ALL = "allclasses.txt"  # the names of all classes: class n is line n


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A folder with a folder text_c10, or a list of classes beside one."""
    if path.is_dir():
        return _look.class_texts(path) is not None
    return _look.is_class_list(path)


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """A shard holds the names of its texts, CLASS/NAME, with NUL between them. Mistake where no picture is there."""
    root = path if path.is_dir() else path.parent
    texts = _look.class_texts(root)
    if texts is None:
        raise Mistake(f"{root} has no folder {TEXTS}.", "It holds the texts.", "Give the folder above it.")
    chosen = None if path.is_dir() else _classes(path)
    names = [
        inside + name[: -len(".txt")]
        for inside, names in _files.walk(texts)
        if chosen is None or inside.rstrip("/") in chosen
        for name in names
        if name.endswith(".txt")
    ]
    if names and not any(_picture(root, name) for name in names[:SIZE]):
        raise Mistake(
            f"{root} has texts of pictures, but not the pictures.",
            "The release has features of them in Torch's files (.t7), which are not read.",
            f"Put the pictures in {root / PICTURES}/CLASS/: those of CUB-200-2011, or flowers in {root / 'jpg'}.",
        )
    parts = (names[first : first + SIZE] for first in range(0, len(names), SIZE))
    return [
        Shard(f"{number:05d}", "class_captions", root, texts, part="\0".join(part))
        for number, part in enumerate(parts)
    ]


def _classes(file: Path) -> set[str]:
    """The classes that a list names, or numbers (from 1) as lines of allclasses.txt. Mistake for a number without a class."""
    words = file.read_text("utf-8", "replace").split()
    if not file.stem.endswith("ids"):
        return set(words)
    known = file.with_name(ALL)
    names = known.read_text("utf-8", "replace").split() if known.is_file() else []
    for word in words:
        if not (word.isascii() and word.isdigit() and 0 < int(word) <= len(names)):
            raise Mistake(
                f"{file} names class {word[:20]!r}, which is no line of {ALL}.",
                f"Its {len(names)} lines are the names of the classes.",
                "Give a list of names, or mend one of the files.",
            )
    return {names[int(word) - 1] for word in words}


def _picture(root: Path, name: str) -> str | None:
    """The picture of a text CLASS/NAME, relative to the set: of its class, or of its bare name."""
    for folder in FOLDERS:
        for stem in (name, name.rpartition("/")[2]):
            for suffix in _look.SIDECARS:
                if (root / folder / (stem + suffix)).is_file():
                    return f"{folder}/{stem}{suffix}"
    return None


def read(shard: Shard) -> Iterator[Pair]:
    """One pair a text file; without its picture it is a pair with the problem "no image"."""
    for name in filter(None, shard.part.split("\0")):
        texts, problem, notes = lines_of(shard.file / f"{name}.txt")
        picture = _picture(shard.root, name)
        inside = name.rpartition("/")[0]
        meta = {"class": readable(inside)} if inside else {}
        blob = Blob()
        if picture is not None:
            blob = Blob(shard.root / picture, name=readable(name + _files.split(picture)[1]))
        yield pair_of(readable(name), blob, texts, meta, problem, notes=notes)


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied), texts as lines. Pairs without a readable image are left out."""
    kept = [pair for pair in pairs if pair.image_key]
    stems, names, texts = _files.Names(), [], []
    for number, pair in enumerate(kept):
        wanted = _files.image_name(pair)
        before = _files.split(wanted)[0]
        stem = stems.give(before, number, pair.key[:10])
        names.append(f"{PICTURES}/{stem}{wanted[len(before) :]}")
        lines = "\n".join(re.sub(r"[\r\n]+", " ", text.text) for text in pair.texts)
        texts.append((out / TEXTS / f"{stem}.txt", lines.encode("utf-8")))
    _files.place_images(out, kept, names)
    write_together(texts)


def finish(out: Path, shards: list[str]) -> None:
    """Nothing to merge: every pair is its own files."""
