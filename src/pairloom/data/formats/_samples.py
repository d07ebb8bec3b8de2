"""Samples of a tar or a zip: the files that share WebDataset's key. Does not know: texts, pictures, pairs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pairloom.data.formats import _files, _tar, _zip
from pairloom.data.formats._tar import Member


class Sample(NamedTuple):
    """The files of one key, by what stands behind the key in their names (".jpg", ".seg.png"), with notes."""

    key: str
    files: dict[str, Member]
    notes: tuple[str, ...] = ()


def samples(path: Path) -> Iterator[Sample]:
    """The samples of a tar in order. Their files stand together; where those of a key do not, they are put together as long as
    no two are of one kind."""
    twice = _apart(path)
    whole = _together(path, twice) if twice else {}
    count: dict[str, int] = {}
    for key, run in _runs(path):
        if key not in twice or run[0].problem:
            yield from _by_dots(_sample(key, run))
            continue
        at = count.get(key, 0)
        count[key] = at + 1
        if at in whole[key]:
            yield from _by_dots(_sample(key, whole[key][at], len(whole[key][at]) > len(run)))


def _runs(path: Path) -> Iterator[tuple[str, list[Member]]]:
    """Neighbours of one key, hidden files left out; a member with a problem is a run of its own."""

    def which(member: Member) -> tuple[str, str]:
        return _key(member.name), f"{member.offset}" if member.problem else ""

    listed = _zip.members(path) if path.suffix.lower() == ".zip" else _tar.members(path)
    shown = (m for m in listed if m.problem or not m.name.rpartition("/")[2].startswith("."))
    for (key, _), run in groupby(shown, key=which):
        yield key, list(run)


def _apart(path: Path) -> set[str]:
    """Keys whose files do not stand together. In memory are 8 bytes a key."""
    seen: set[int] = set()
    twice: set[str] = set()
    for key, run in _runs(path):
        if not run[0].problem:
            mark = hash(key)
            if mark in seen:
                twice.add(key)
            seen.add(mark)
    return twice


def _together(path: Path, keys: set[str]) -> dict[str, dict[int, list[Member]]]:
    """For each key its samples by the run at which they begin: a run goes to the sample before it that has no file of its
    kinds, and no picture where it has one."""
    whole: dict[str, dict[int, list[Member]]] = {}
    count: dict[str, int] = {}
    for key, run in _runs(path):
        if key not in keys or run[0].problem:
            continue
        at = count.get(key, 0)
        count[key] = at + 1
        samples = whole.setdefault(key, {})
        fitting = (sample for sample in samples.values() if not _kinds(sample) & _kinds(run))
        before = next(fitting, None)
        if before is None:
            samples[at] = run
        else:
            before += run
    return whole


def _kinds(run: list[Member]) -> set[str]:
    """The suffixes of files; all images are of one kind."""
    suffixes = {suffix_of_member(member) for member in run}
    return {"image" if suffix in _files.IMAGES else suffix for suffix in suffixes}


def _key(name: str) -> str:
    """WebDataset's key: the name up to the first dot behind the last slash, in one Unicode form."""
    folder, slash, last = name.rpartition("/")
    key = folder + slash + last.split(".", 1)[0]
    return key if key.isascii() else unicodedata.normalize("NFC", key)


def suffix_of_member(member: Member) -> str:
    """What stands behind the key, in lower case."""
    return "".join(member.name.rpartition("/")[2].partition(".")[1:]).lower()


def _sample(key: str, run: list[Member], apart: bool = False) -> Sample:
    files: dict[str, Member] = {}
    notes = ["the files of this sample do not stand together in the tar"] if apart else []
    for member in run:
        suffix = suffix_of_member(member)
        if suffix in files:
            notes.append(f"{member.name} stands twice in its sample: the first was read")
        files.setdefault(suffix, member)
        notes += [member.note] if member.note else []
    return Sample(key, files, tuple(dict.fromkeys(notes)))


def _by_dots(sample: Sample) -> Iterator[Sample]:
    """A sample without a picture directly behind its key, whose names have more dots: as many pairs as there are pictures with
    a text of their stem (2020.01.jpg, 2020.01.txt); one where it has only one picture and one text (input.jpg, output.txt)."""
    split = {suffix: suffix.rpartition(".") for suffix in sample.files}
    images = [suffix for suffix, (stem, _, last) in split.items() if stem and f".{last}" in _files.IMAGES]
    if not images or any(suffix in _files.IMAGES for suffix in sample.files):
        yield sample
        return
    note = f"the key of these names ends at their first dot: {sample.key!r}"
    stems: dict[str, dict[str, Member]] = {}
    for suffix, (stem, _, last) in split.items():
        stems.setdefault(stem, {})[f".{last}"] = sample.files[suffix]
    whole = [
        stem for stem, files in stems.items() if any(s in _files.IMAGES for s in files) and ".txt" in files
    ]
    if whole:
        for stem, files in stems.items():
            yield Sample(sample.key + stem, files, (*sample.notes, note))
        return
    texts = [suffix for suffix in sample.files if suffix.endswith(".txt")]
    if len(images) == 1 and len(texts) <= 1:
        plain = {"." + split[suffix][2]: sample.files[suffix] for suffix in (*images, *texts)}
        note = f"the picture of the sample is {images[0]}" + (f", its text {texts[0]}" if texts else "")
        rest = {suffix: member for suffix, member in sample.files.items() if suffix not in (*images, *texts)}
        yield Sample(sample.key, {**rest, **plain}, (*sample.notes, note))
    else:
        yield sample._replace(notes=(*sample.notes, note))
