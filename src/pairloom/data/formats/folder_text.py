"""A folder of images with same-stem text files (kohya, taggui, OneTrainer): one caption per line of `.txt` or `.caption`.

A picture without either may have its texts in a `.json` of its name. Does not know: texts' sources or metadata: the format
cannot hold them, so writing drops them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from pairloom.data.disk import readable, write_together
from pairloom.data.formats import _columns, _files, _look
from pairloom.data.formats._finder import folded
from pairloom.data.formats._texts import LONGEST, decode_known, lines_of, pair_of, words_of
from pairloom.data.pair import Blob, Pair
from pairloom.data.shards import SIZE, ColumnNames, Shard

CLAIM = "folder of images with same-stem .txt or .caption files, one caption a line"
HOLDS: tuple[str, ...] = ()  # beyond image and texts
TEXTS = (".txt", ".caption")  # where a stem has both, the first is used
RECORD = ".json"
FEW = 100  # texts beside which a picture without a suffix is looked for, for sniffing
PAPERS = {"readme", "license", "licence", "copying", "citation", "changelog", "notice", "authors"}


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A folder with images and no annotation file, table or tar."""
    if not path.is_dir() or _look.marker(path, columns) is not None or _look.class_texts(path) is not None:
        return False
    return any(_is_picture(name) for _, names in _files.walk(path) for name in names) or _has_unnamed(path)


def _has_unnamed(path: Path) -> bool:
    """Whether a picture without a suffix that is known lies beside one of the first texts of a folder."""
    groups = (
        (inside, group)
        for inside, names in islice(_files.walk(path), _files.FIRST)
        for _, group in islice(_stems(names), FEW)
        if any(map(_is_text, group))
    )
    return any(
        _by_content(path, [inside + name for name in group if not _is_text(name)])[0]
        for inside, group in islice(groups, FEW)
    )


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """A shard holds the names of its files, whole stems: about 20 bytes a pair. NUL stands between names; a text
    that goes with the picture before it, though its stem is another, begins with a slash."""
    shard_list: list[Shard] = []
    waiting: list[str] = []

    def close() -> None:
        part = "\0".join(waiting)
        shard_list.append(Shard(f"{len(shard_list):05d}", "folder_text", path, path, part=part))
        waiting.clear()

    for inside, names in _files.walk(path):
        for group in together(names):
            stem = _files.split(group[0])[0]
            apart = ["" if _files.split(name)[0] == stem else "/" for name in group]
            waiting.append("\0".join(mark + inside + name for mark, name in zip(apart, group)))
            if len(waiting) == SIZE:
                close()
    if waiting:
        close()
    return shard_list


def below(shard: Shard, root: Path) -> Shard:
    """A shard as one of a set in a folder above its own."""
    inside = shard.root.relative_to(root).as_posix() + "/"
    names = (
        f"/{inside}{name[1:]}" if name.startswith("/") else inside + name for name in shard.part.split("\0")
    )
    return replace(shard, root=root, file=root, part="\0".join(names))


def together(names: list[str]) -> Iterator[list[str]]:
    """The files of each pair of a folder, in order: those of one stem; a text alone goes with the one picture whose name
    differs from its own by case or Unicode form, or by being written out (x.jpg.txt); else with whatever has its stem."""
    adopted = {**_written_out(names), **_adopted(names)}
    texts: dict[str, list[str]] = {}
    for text, picture in adopted.items():
        texts.setdefault(picture, []).append(text)
    for _, group in _stems(name for name in names if name not in adopted):
        pictures = [name for name in group if _is_picture(name)]
        further = [text for name in pictures for text in texts.get(name, ())]
        if not pictures and _files.split(group[0])[0].lower() in PAPERS:
            continue
        if pictures and any(_is_text(name) for name in (*further, *group)):
            further = [name for name in further if _is_text(name)]
            group = [name for name in group if _is_picture(name) or _is_text(name)]
        elif pictures:
            group = [name for name in group if _is_picture(name) or _files.split(name)[1] == RECORD]
        elif not any(_is_text(name) for name in group):
            continue
        yield group + further


def _stems(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for stem, group in groupby(sorted(names, key=_files.split), key=lambda name: _files.split(name)[0]):
        yield stem, list(group)


def _written_out(names: list[str]) -> dict[str, str]:
    """Records whose name is a picture's written out (x.jpg.json) -> that picture."""
    known = set(names)
    records = {name: name[: -len(RECORD)] for name in names if _files.split(name)[1] == RECORD}
    return {name: picture for name, picture in records.items() if picture in known and _is_picture(picture)}


def _adopted(names: list[str]) -> dict[str, str]:
    """Text files without a picture of their stem -> the picture that is meant, where there is no doubt."""
    lonely = {
        stem: group
        for stem, group in _stems(names)
        if any(map(_is_text, group)) and not any(map(_is_picture, group))
    }
    if not lonely:
        return {}
    wanted = {folded(stem) for stem in lonely}
    alone: dict[str, list[str]] = {}
    for stem, group in _stems(names):
        pictures = [name for name in group if _is_picture(name)]
        if len(pictures) == 1 and not any(map(_is_text, group)):
            for known in {folded(stem), folded(pictures[0])} & wanted:
                alone.setdefault(known, []).append(pictures[0])
    askers: dict[str, list[str]] = {}
    for stem in lonely:
        for picture in alone.get(folded(stem), ()):
            askers.setdefault(picture, []).append(stem)
    return {
        text: alone[folded(stem)][0]
        for stem, group in lonely.items()
        if len(alone.get(folded(stem), ())) == 1 and askers[alone[folded(stem)][0]] == [stem]
        for text in group
        if _is_text(text)
    }


def _is_picture(name: str) -> bool:
    suffix = _files.split(name)[1]
    return suffix in _files.IMAGES or suffix in _files.UNREAD


def _is_text(name: str) -> bool:
    return _files.split(name)[1] in TEXTS


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image; a text without image is a pair with the problem "no image"."""
    for names in _listed(shard.part):
        images = [name for name in names if _files.is_image(name)]
        texts = {_files.split(name)[1]: name for name in names if _is_text(name)}
        records = [name for name in names if _files.split(name)[1] == RECORD]
        others = [name for name in names if name not in images and not _is_text(name)]
        stem = _files.split(next((name for name in names if _is_picture(name)), names[0]))[0]
        chosen = next((suffix for suffix in TEXTS if suffix in texts), "")
        lines, problem, notes = lines_of(shard.root / texts[chosen]) if chosen else ([], "", ())
        if images and not texts and records:
            lines, notes = _record(shard.root / records[0], shard.columns)
        if len(texts) > 1:
            notes = (*notes, f"{readable(texts['.caption'])} was not read: there is a .txt too")
        if len(images) > 1:
            notes = (*notes, f"{len(images)} images share this stem and its text")
        if chosen and _files.split(texts[chosen])[0] != stem and images:
            notes = (*notes, f"{readable(texts[chosen])} is read as the text of {readable(images[0])}")
        if not images:
            images, more = _by_content(shard.root, others)
            notes = (*notes, *more)
        # kohya's trainers look for one suffix only: what is written must have the suffix that was read
        meta = {"text_suffix": chosen} if chosen == ".caption" else {}
        known = readable(stem)
        for name in images:
            blob = Blob(shard.root / name, name=readable(name))
            yield pair_of(known, blob, lines, meta, problem, notes=notes)
        if not images:
            yield pair_of(known, Blob(), lines, meta, _absent(others), notes=notes)


def _listed(part: str) -> Iterator[list[str]]:
    """The names of each pair of a shard."""
    group: list[str] = []
    for name in part.split("\0"):
        if group and not name.startswith("/") and _files.split(name)[0] != _files.split(group[0])[0]:
            yield group
            group = []
        group.append(name.removeprefix("/"))
    yield group


def _by_content(root: Path, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Of files whose names are no image's the one that begins as an image does, with a note."""
    images = []
    for name in names:
        try:
            with open(root / name, "rb") as file:
                if _files.kind_of(file.read(16)):
                    images.append(name)
        except OSError:
            continue
    note = "by its first bytes an image, whatever its name"
    return (images, (f"{readable(images[0])} is {note}",)) if len(images) == 1 else ([], ())


def _absent(others: list[str]) -> str:
    """The problem of a text without a picture that is read. others: what has its stem."""
    unread = [readable(name) for name in others if _files.split(name)[1] in _files.UNREAD]
    if unread:
        return f"{unread[0]} is of a kind that is not read: save it as JPEG or PNG"
    shown = ", ".join(readable(name) for name in others[:5])
    return f"no image: {shown} has this name, and is no image that is read" if shown else "no image"


def _record(path: Path, columns: ColumnNames) -> tuple[list[str], tuple[str, ...]]:
    """Texts and notes of the .json of a picture."""
    name = readable(path.name)
    try:
        raw, notes = decode_known(Blob(path).read() if path.stat().st_size <= LONGEST else b"")
        record: Any = json.loads(raw, strict=False)
    except (OSError, ValueError, RecursionError) as error:
        return [], (f"{name} was not read: {error}"[:200],)
    if isinstance(record, (list, str)) and words_of(record):
        return words_of(record), (*notes, f"the text was read from {name}")
    fields, texts, more = _columns.texts_of(record, columns) if isinstance(record, dict) else ((), [], ())
    if not texts:
        shown = ", ".join(map(str, list(record)[:8])) if isinstance(record, dict) else type(record).__name__
        return [], (f"{name} has no known text; seen there: {shown}",)
    return texts, (*notes, *more, f"the text was read from {' '.join(fields)!r} of {name}")


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
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
