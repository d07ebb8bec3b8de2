"""Where the pictures of an annotation file lie: a name is tried against likely folders, always in the same order.

A picture is taken from another folder than the row's own only where it is the only one of its name, and then with a note;
never from a folder that another annotation file speaks of. Does not know: any one format, texts, pixels.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from pairloom.data.disk import readable
from pairloom.data.formats import _files
from pairloom.data.pair import Blob

ANNOTATIONS = {".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow"}
FILE_ADDRESS = re.compile(r"^file://[^/]*/")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
MOST = 50  # folders of a folder that are searched
LISTED = 100_000  # names of a folder among which one of another Unicode form is looked for
Picture = tuple[Blob, str, tuple[str, ...]]  # where it lies, the problem, notes


class Finder:
    """The pictures of one annotation file. tiers: folders that count alike; the first tier with the name has the picture."""

    def __init__(self, root: Path, file: Path) -> None:
        """root: the set's folder. file: the annotation file in it."""
        near = [file.parent, file.parent.parent] if file.parent.name == "annotations" else [file.parent]
        self.tops = [os.path.abspath(top) + os.sep for top in (root, *near)]
        self.tiers: list[list[Path]] = []
        self.foreign: set[Path] = set()  # folders where a hit is a guess, told by a note
        at_home = False
        for folder in near:
            at_home |= self._search(folder, file)
        if root not in near:
            self.away = root if at_home else None
            self.tiers.append([root])
            if not at_home:
                self._search(root, file)
        else:
            self.away = None

    def _search(self, folder: Path, file: Path) -> bool:
        """Add a folder, those in it that the file's name mentions, its images/, and, where none is mentioned, all others.
        Whether pictures lie in the folder itself or in one that is mentioned."""
        inner = _folders(folder)
        within = _folders(folder / "images") if folder / "images" in inner else []
        named = [place for place in (*inner, *within) if _mentions(file.name, place.name)]
        named += [place / "images" for place in named]
        self.tiers += [[folder], named, [place for place in inner if place.name == "images"]]
        at_home = any(map(_has_pictures, named))
        if not at_home:
            others = [place for place in (*inner, *within) if place.name != "images" and place not in named]
            others = [place for place in others if not _spoken_for(place, folder, file)]
            self.tiers.append(others)
            self.foreign |= set(others) if len(others) > 1 else set()
        return at_home or _has_pictures(folder) or _has_pictures(folder / "images")

    def find(self, name: object) -> Picture:
        """The picture that a row names. The Blob's own name is relative to the set where it lies inside."""
        if isinstance(name, str):
            name = FILE_ADDRESS.sub("/", name)
        if not isinstance(name, str) or not name or "\0" in name or ADDRESS.match(name):
            return Blob(), missing(name), ()
        hits = self.hits(name)
        if len(hits) > 1:
            return Blob(), f"no image: several pictures are called {name[:200]!r}: {self._named(hits)}", ()
        if hits:
            notes = (
                (f"the picture was found by its name alone: {self._named(hits)}",)
                if any(hits[0] == place / name for place in self.foreign)
                else ()
            )
            return Blob(hits[0], name=self._known_as(hits[0], name)), "", notes
        return self._rewritten(name) or self._alike(name)

    def _rewritten(self, name: str) -> Picture | None:
        """The only picture that a name can mean which was written on another machine, for a page, or without its suffix; with a note."""
        for written in _writings(name, self.tops):
            hits = self.hits(written) or [
                path for tier in self.tiers for place in tier for path in _by_stem(place, written)
            ]
            if len(hits) == 1:
                note = f"the set writes {name[:200]!r}, the file is {self._named(hits)!r}"
                return Blob(hits[0], name=self._known_as(hits[0], written)), "", (note,)
        return None

    def hits(self, name: str) -> list[Path]:
        """The files of that name in the first tier that has one; those with the same bytes once."""
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            for tier in self.tiers:
                if tier == [self.away] and "/" not in written:
                    continue  # a bare name belongs to the row's own folder
                try:
                    paths = [place / written for place in tier if (place / written).is_file()]
                except OSError:  # a name longer than the disk takes
                    break
                if paths:
                    return _distinct(paths)
        return []

    def has_folder(self, name: str) -> bool:
        """Whether there is a folder of that name where pictures are searched for."""
        return any((place / name).is_dir() for tier in self.tiers for place in tier)

    def _alike(self, name: str) -> Picture:
        """The picture whose name differs by Unicode form or by the case of its suffix alone; else the problem, with a name
        that differs by capitals."""
        parts = name.replace("\\", "/").split("/")
        alike = dict.fromkeys(
            path
            for tier in self.tiers
            for place in tier
            if tier != [self.away]
            for path in _alike(place, parts)
        )
        same = [path for path in alike if _composed(path.name) == _composed(parts[-1])]
        if len(same) == 1:
            shown = readable(same[0].name)
            note = f"the set writes {parts[-1]!r}, the file is {shown!r}: the same name in another form"
            return Blob(same[0], name=self._known_as(same[0], name)), "", (note,)
        problem = missing(name)
        if alike:
            problem += f"; there is {self._named(list(alike)[:3])}, whose capitals or form are other"
        else:
            stem = _files.split("/".join(parts))[0]
            near = [path for tier in self.tiers for place in tier for path in _by_stem(place, stem)]
            problem += f"; there is {self._named(near[:3])}" if near else self._beside(name)
        return Blob(), problem, ()

    def _beside(self, name: str) -> str:
        """What is said of a picture beside the annotation file that a whole path of another machine ends with: it may be another one,
        since the path may have had one of that name in each of its folders."""
        parts = _parts(name)
        near = self.tiers[0][0] / parts[-1] if _is_whole(name) and parts else None
        hits = [] if near is None else [near] if near.is_file() else _by_stem(near.parent, near.name)
        return f"; there is {self._named(hits[:3])}: write names relative to the table" if hits else ""

    def _named(self, paths: list[Path]) -> str:
        return ", ".join(self._known_as(path, path.name) for path in paths[:5])

    def _known_as(self, path: Path, written: str) -> str:
        full = os.path.abspath(path)
        inside = next((full[len(top) :] for top in self.tops if full.startswith(top)), "")
        return readable(inside) if inside else _files.safe(written)


def missing(name: object) -> str:
    """The problem of a row whose picture is not there."""
    if isinstance(name, str) and ADDRESS.match(name):
        return "no image: the set gives a web address, and pairloom fetches nothing"
    if isinstance(name, (list, tuple)) and any(isinstance(one, (list, tuple, int, float)) for one in name):
        return "no image: the cell holds numbers, and pixels in lists are not read: save them as PNG"
    if isinstance(name, (list, tuple)) and len(name) > 1:
        return f"no image: the row names {len(name)} pictures, and a pair has one"
    return f"no image: {str(name)[:200]!r} is not there" if name else "no image"


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not _files.is_hidden(entry.name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=lambda name: (name != "images", name))[:MOST]]


def _mentions(file: str, folder: str) -> bool:
    """Whether a file is named after a folder: captions_val2017.json, val2017/."""
    return re.search(rf"(?<![^\W_]){re.escape(folder)}(?![^\W_])", file) is not None


def _has_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(_files.is_image(entry.name) for entry in entries)
    except OSError:
        return False


def _spoken_for(place: Path, beside: Path, file: Path) -> bool:
    """Whether a folder's pictures belong to another annotation file: one in it, or one beside it that mentions it."""
    inside, outside = _annotations(place, _stamp(place)), _annotations(beside, _stamp(beside))
    return any(name == file.name or name.startswith("metadata.") for name in inside) or any(
        _mentions(name, place.name)
        for name in outside
        if name != file.name and _files.split(name)[1] == _files.split(file.name)[1]
    )


@lru_cache(maxsize=256)
def _annotations(folder: Path, stamp: int) -> tuple[str, ...]:
    """Names of a folder's annotation files; a .json beside a picture of its name is that picture's."""
    try:
        names = os.listdir(folder)
    except OSError:
        return ()
    stems = {_files.split(name)[0] for name in names if _files.is_image(name)}
    return tuple(
        name
        for name in names
        if _files.split(name)[1] in ANNOTATIONS
        and not name.startswith(".")
        and _files.split(name)[0] not in stems
    )


def _distinct(paths: list[Path]) -> list[Path]:
    from pairloom.data.disk import same_file

    return [path for at, path in enumerate(paths) if not any(same_file(path, other) for other in paths[:at])]


def _stamp(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _composed(name: str) -> str:
    """A name in one Unicode form, with its suffix in lower case."""
    stem, suffix = _files.split(unicodedata.normalize("NFC", name))
    return stem + suffix


def folded(name: str) -> str:
    """A name without regard to Unicode form and case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _alike(place: Path, parts: list[str]) -> list[Path]:
    """Files below a folder whose path is `parts` but for Unicode form and case."""
    here = [place]
    for part in parts:
        here = [
            folder / name
            for folder in here
            for name in (
                [part] if (folder / part).is_dir() else _by_form(folder, _stamp(folder)).get(folded(part), ())
            )
        ]
    return [path for path in here if path.is_file()]


def _plain(name: str) -> str:
    """A name without blanks around it and codes of web addresses, with slashes."""
    return unquote(name.strip()).replace("\\", "/")


def _parts(name: str) -> list[str]:
    return [part for part in _plain(name).split("/") if part not in ("", ".")]


def _is_whole(name: str) -> bool:
    """Whether a name is a path from a root or a drive."""
    return re.match(r"/|[A-Za-z]:/", _plain(name)) is not None


def _writings(name: str, tops: Iterable[str]) -> Iterator[str]:
    """Other writings of a picture's name: the plain one; of a whole path its ends that have a folder, the longest first; of others
    what stands behind the set's own folders (data/a.jpg for a set in data/). tops: whole paths of the set's folders."""
    yield _plain(name)
    parts = _parts(name)
    if _is_whole(name):
        yield from ("/".join(parts[at:]) for at in range(1, len(parts) - 1))
        return
    for top in tops:
        own = _parts(top)
        yield from ("/".join(parts[at:]) for at in range(1, len(parts)) if parts[:at] == own[-at:])


def _by_stem(place: Path, written: str) -> list[Path]:
    """Pictures below a folder that are called so but for the suffix, where none is written; of a number also those that have more
    zeros before it."""
    folder, _, stem = written.rpartition("/")
    if _files.split(stem)[1] or not stem:
        return []
    where = place / folder
    known = _stems(where, _stamp(where))
    return [where / name for name in known.get(stem) or known.get(_files.number_of(stem), ())]


@lru_cache(maxsize=4)
def _stems(folder: Path, stamp: int) -> dict[str | int | None, tuple[str, ...]]:
    """Stem, or the number that it is -> the pictures of a folder that have it."""
    known: dict[str | int | None, tuple[str, ...]] = {}
    for name in _names(folder):
        if _files.is_image(name):
            stem = _files.split(name)[0]
            for key in (stem, number) if (number := _files.number_of(stem)) is not None else (stem,):
                known[key] = (*known.get(key, ()), name)
    return known


def _names(folder: Path) -> list[str]:
    """The names in a folder; none of one that is not there, or has too many."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return names if len(names) <= LISTED else []


@lru_cache(maxsize=4)
def _by_form(folder: Path, stamp: int) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for name in _names(folder):
        known[folded(name)] = (*known.get(folded(name), ()), name)
    return known
