"""NLVR (Suhr et al., 2017) as published, unpacked or as a tar: SPLIT.json, one JSON object a line with "identifier",
"sentence", "label" and "directory", and images/DIRECTORY/SPLIT-IDENTIFIER-K.png, K the order of the three boxes (0 to 5).

Each picture is an example; those of one sentence are a group. The items of the boxes ("structured_rep") are carried along;
`region_files/nlvr_boxes.py` reads them as regions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pairloom.data.examples._notes import Album, files, first, keyed, rows, seen, word
from pairloom.data.formats import _tar
from pairloom.data.formats._texts import decode
from pairloom.data.pair import Blob, Statement
from pairloom.errors import Mistake

CLAIM = 'NLVR: a line {"identifier", "sentence", "label", "directory"} each, six pictures; or a tar of them'
ORDERS = range(6)
CARRIED: tuple[str, ...] = ("label_source", "structured_rep")
WANTED = {"identifier", "sentence", "directory"}


def sniff(path: Path) -> str:
    if path.suffix == ".tar" and path.is_file():
        return (
            "statements"
            if any(re.fullmatch(r"(.*/)?nlvr/(\w+)/\2\.json", one.name) for one in _tar.members(path))
            else ""
        )
    return "statements" if _marked(path) else ""


def _marked(path: Path) -> list[Path]:
    firsts = [(file, first(file).get("", {})) for file in files(path)]
    return [file for file, row in firsts if WANTED <= row.keys() and "left_url" not in row]


def read(path: Path) -> Iterator[Statement]:
    """Every statement with each of its pictures that is there."""
    if path.suffix == ".tar":
        yield from _packed(path)
        return
    for file in _marked(path):
        album = Album(path, file)
        for row in rows(file):
            for order, picture in _there(album, file.stem, row):
                yield _statement(row, order, picture)


def _there(album: Album, split: str, row: dict[str, object]) -> list[tuple[int, tuple[Blob, str, str]]]:
    """The pictures of a row that are there; where none is, the first with its problem."""
    names = [_name(split, row, order) for order in ORDERS]
    pictures = [(order, album.find([f"images/{name}", name])) for order, name in enumerate(names)]
    return [one for one in pictures if one[1][0].path] or pictures[:1]


def _packed(path: Path) -> Iterator[Statement]:
    held = {member.name: member for member in _tar.members(path)}
    if any(member.problem and not member.name for member in held.values()):
        raise Mistake(
            f"{path} is not whole.",
            next(one.problem for one in held.values() if one.problem),
            "Copy it again.",
        )
    for name, member in held.items():
        split = re.fullmatch(r"(.*/)?(\w+)/\2\.json", name)
        if not split:
            continue
        text = decode(Blob(path, member.offset, member.size).read())[0]
        for line in filter(str.strip, text.split("\n")):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise Mistake(f"{name} in {path} is broken.", str(error), "Copy the file again.") from error
            pictures = [
                (order, f"{split[1] or ''}{split[2]}/images/{_name(split[2], row, order)}")
                for order in ORDERS
            ]
            for order, picture in [one for one in pictures if one[1] in held] or pictures[:1]:
                yield _statement(row, order, _span(path, held.get(picture), picture))


def _span(path: Path, member: _tar.Member | None, name: str) -> tuple[Blob, str, str]:
    if member is None or member.problem:
        return Blob(), "", f"no image: {name!r} is not there" if member is None else member.problem
    return keyed(Blob(path, member.offset, member.size, name=name))


def _name(split: str, row: dict[str, object], order: int) -> str:
    return f"{word(row.get('directory'))}/{split}-{word(row.get('identifier'))}-{order}.png"


def _statement(row: dict[str, object], order: int, picture: tuple[Blob, str, str]) -> Statement:
    text, label = (
        word(row.get("sentence")),
        {"true": True, "false": False}.get(word(row.get("label")).lower()),
    )
    carried = {name: row[name] for name in CARRIED if name in row}
    return Statement(
        **seen([picture], text, problem="" if text else "no statement"),
        name=f"{word(row.get('identifier'))}-{order}", text=text, true=label, group=text, meta=carried,
    )  # fmt: skip
