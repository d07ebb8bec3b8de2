"""A folder of images with same-stem text files (kohya, taggui, OneTrainer): one caption per line of `.txt` or `.caption`.

Does not know: texts' sources or metadata: the format cannot hold them, so writing drops them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from pairloom.data.disk import write_together
from pairloom.data.formats import _files, _look
from pairloom.data.formats._texts import LONGEST, decode, pair_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import SIZE, Shard

CLAIM = "folder of images with same-stem .txt or .caption files, one caption a line"
HOLDS: tuple[str, ...] = ()  # beyond image and texts
TEXTS = (".txt", ".caption")  # where a stem has both, the first is used


def sniff(path: Path) -> bool:
    """A folder with images and no annotation file, table or tar."""
    if not path.is_dir() or _look.marker(path) is not None:
        return False
    return any(_files.is_image(name) for _, names in _files.walk(path) for name in names)


def shards(path: Path) -> list[Shard]:
    """A shard holds the names of its files, whole stems, NUL between them: about 20 bytes a pair."""
    shard_list: list[Shard] = []
    waiting: list[str] = []
    stems = 0

    def close() -> None:
        shard_list.append(Shard(f"{len(shard_list):05d}", "folder_text", path, path, part="\0".join(waiting)))
        waiting.clear()

    for inside, names in _files.walk(path):
        kept = (name for name in names if _files.is_image(name) or _files.split(name)[1] in TEXTS)
        for _, group in groupby(sorted(kept, key=_files.split), key=lambda name: _files.split(name)[0]):
            waiting += [inside + name for name in group]
            stems += 1
            if stems % SIZE == 0:
                close()
    if waiting:
        close()
    return shard_list


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image; a text without image is a pair with the problem "no image"."""
    for stem, group in groupby(shard.part.split("\0"), key=lambda name: _files.split(name)[0]):
        names = list(group)
        images = [name for name in names if _files.is_image(name)]
        texts = {_files.split(name)[1]: name for name in names if not _files.is_image(name)}
        chosen = next((suffix for suffix in TEXTS if suffix in texts), "")
        lines, problem, notes = _lines(shard.root / texts[chosen]) if chosen else ([], "", ())
        if len(texts) > 1:
            notes = (*notes, f"{_files.readable(texts['.caption'])} was not read: there is a .txt too")
        if len(images) > 1:
            notes = (*notes, f"{len(images)} images share this stem and its text")
        # kohya's trainers look for one suffix only: what is written must have the suffix that was read
        meta = {"text_suffix": chosen} if chosen == ".caption" else {}
        known = _files.readable(stem)
        for name in images:
            blob = Blob(shard.root / name, name=_files.readable(name))
            yield pair_of(known, blob, lines, meta, problem, notes=notes)
        if not images:
            yield pair_of(known, Blob(), lines, meta, "no image", notes=notes)


def _lines(path: Path) -> tuple[list[str], str, tuple[str, ...]]:
    """Captions, problem and notes of one text file. Only real line ends split: captions may hold any other character."""
    try:
        raw = Blob(path).read() if path.stat().st_size <= LONGEST else b""
        if path.stat().st_size > LONGEST:
            return [], f"text file is larger than {LONGEST:,} bytes", ()
    except OSError as error:
        return [], f"text cannot be read: {error.strerror or error}", ()
    text, notes = decode(raw)
    return [line for line in text.replace("\r", "\n").split("\n") if line.strip("\0 \t")], "", notes


def write(out: Path, shard: str, pairs: Iterable[Pair]) -> None:
    """Images linked (or copied), texts as lines. Pairs without a readable image are left out."""
    kept = [pair for pair in pairs if pair.image_key]
    stems, names, texts = _files.Names(), [], []
    for number, pair in enumerate(kept):
        wanted = _files.image_name(pair)
        before = _files.split(wanted)[0]
        # two rows of one picture need two stems here: the text file belongs to one of them
        stem = stems.give(before, number, pair.key[:10])
        names.append(stem + wanted[len(before) :])
        if pair.texts:
            suffix = ".caption" if pair.meta.get("text_suffix") == ".caption" else ".txt"
            lines = "\n".join(re.sub(r"[\r\n]+", " ", text.text) for text in pair.texts)
            texts.append((out / (stem + suffix), lines.encode("utf-8")))
    _files.place_images(out, kept, names)
    write_together(texts)


def finish(out: Path, shards: list[str]) -> None:
    """Nothing to merge: every pair is its own files."""
