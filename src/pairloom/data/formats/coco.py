"""COCO captions (Chen et al. 2015): {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}.

The captions of an image may stand anywhere in the file: listing notes where, so that a shard reads only its own bytes.
Does not know: boxes and other annotations. What else the file holds (info, licences) is written again.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pairloom.data.disk import atomic_write
from pairloom.data.formats import _files, _json, _lists, _look, _parts, _tables
from pairloom.data.formats._finder import Finder
from pairloom.data.formats._texts import UnknownCharset, decode_known, pair_of, words_of
from pairloom.data.pair import Blob, Pair, Text
from pairloom.data.shards import SIZE, ColumnNames, Shard
from pairloom.errors import Mistake

CLAIM = 'COCO captions JSON: {"images", "annotations": [{"image_id", "caption"}, ...]}'
HOLDS = ("source", "meta")  # beyond image and texts
DEFAULT = "captions.json"


def sniff(path: Path, columns: ColumnNames = ColumnNames()) -> bool:
    """A JSON object with COCO's arrays."""
    mark = _look.marker(path, columns)
    return mark is not None and mark.suffix == ".json" and _is_coco(mark)


def _is_coco(file: Path) -> bool:
    first = _json.peek(file)
    if "images" in first:
        return "id" in first["images"] and "sentences" not in first["images"]
    return "image_id" in first.get("annotations", {})


def shards(path: Path, columns: ColumnNames = ColumnNames()) -> list[Shard]:
    """Spans of the images with the places of their captions. Files of boxes are passed over where others hold captions."""
    root = path.parent if path.is_file() else path
    files = _look.of_format(path, columns, lambda file: file.suffix == ".json" and _is_coco(file))
    shard_list = [shard for file in files for shard in _listed(root, file, columns.text or "caption")]
    if files and not shard_list:
        do = "Give the captions file: captions_train2017.json or its like."
        raise Mistake(f"{files[0]} has no captions.", "Its annotations carry no caption.", do)
    return shard_list


def _listed(root: Path, file: Path, field: str) -> list[Shard]:
    """Two numbers an image and three a caption are in memory while a file is listed. field: what holds the caption."""
    ids, starts, stops = array("q"), array("q"), array("q")
    whose, at, length = array("q"), array("q"), array("q")
    for element in _json.sound(file):
        row = element.value if isinstance(element.value, dict) else {}
        if element.key == "images":
            ids.append(hash(_plain(row.get("id"))))
            starts.append(element.start)
            stops.append(element.stop)
        elif element.key == "annotations" and field in row:
            whose.append(hash(_plain(row.get("image_id"))))
            at.append(element.start)
            length.append(element.stop - element.start)
    if not whose:
        return []
    order = np.argsort(np.asarray(ids), kind="stable")
    known = np.asarray(ids)[order]
    slot = np.searchsorted(known, np.asarray(whose))
    present = (
        (slot < len(known)) & (known[np.minimum(slot, len(known) - 1)] == np.asarray(whose))
        if len(known)
        else slot < 0
    )
    image = np.where(present, order[np.minimum(slot, len(known) - 1)] if len(known) else -1, -1)
    by_image = np.argsort(image, kind="stable")
    bounds = np.searchsorted(image[by_image], np.arange(0, len(ids) + SIZE, SIZE))

    double = np.flatnonzero(_is_double(np.asarray(ids)))  # images whose id another one has too

    def shard(number: int, begin: int, end: int, chosen: np.ndarray, rows: range = range(0)) -> Shard:
        part = ",".join(f"{at[i]}:{length[i]}" for i in sorted(chosen.tolist()))
        part += "".join(f";{i - rows[0]}" for i in double.tolist() if i in rows)
        return Shard(f"{_look.label(root, file)}-{number:05d}", "coco", root, file, begin, end, part)

    shards = []
    for number, first in enumerate(range(0, len(ids), SIZE)):
        last = min(first + SIZE, len(ids)) - 1
        chosen = by_image[bounds[number] : bounds[number + 1]]
        shards.append(shard(number, starts[first], stops[last], chosen, range(first, last + 1)))
    lost = by_image[: bounds[0]]
    for first in range(0, len(lost), SIZE):  # captions of images that the file does not list
        shards.append(shard(len(shards), 0, 0, lost[first : first + SIZE]))
    return shards


def _is_double(ids: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return counts[inverse] > 1


def _plain(value: Any) -> int | str:
    """An id as it is compared: tools write 7, 7.0 and "7" for the same one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value).strip()
    return int(text) if re.fullmatch(r"0|[1-9]\d{0,17}", text) else text


def read(shard: Shard) -> Iterator[Pair]:
    """One pair an image, its captions in the file's order; captions of no listed image are pairs with "no image"."""
    finder = Finder(shard.root, shard.file)
    captions: dict[int | str, list[Text]] = {}
    for row in _captions(shard):
        captions.setdefault(_plain(row.get("image_id")), []).extend(_texts(row, shard.columns))
    double = set(map(int, shard.part.split(";")[1:]))
    rows = _json.rows(shard.file, shard.start, shard.stop) if shard.stop else []
    for number, row in enumerate(rows):
        known = f"{shard.name}:{number}"
        if not isinstance(row, dict):
            yield pair_of(known, Blob(), [], problem="row is not a JSON object")
            continue
        name = _tables.word(row.get("file_name"))
        blob, problem, notes = finder.find(name)
        known = _files.split(_files.readable(name))[0] if name else known
        texts = captions.pop(_plain(row.get("id")), [])
        if number in double and not problem:
            problem = f"duplicate: the file lists the id {row.get('id')!r} for several images, and captions may be of another"
        yield pair_of(known, blob, texts, row, problem, notes=notes)
    for image_id, texts in captions.items():
        yield pair_of(str(image_id), Blob(), texts, {}, "no image: the file does not list this image_id")


def _captions(shard: Shard) -> Iterator[dict[str, Any]]:
    with open(shard.file, "rb") as file:
        for span in filter(None, shard.part.partition(";")[0].split(",")):
            at, length = map(int, span.split(":"))
            try:
                row = json.loads(decode_known(os.pread(file.fileno(), length, at))[0], strict=False)
            except UnknownCharset as error:
                do = "JSON is UTF-8: convert the file first."
                raise Mistake(f"{shard.file} cannot be read.", f"At byte {at:,}: {error}.", do) from error
            except ValueError as error:
                raise Mistake(
                    f"{shard.file} is not what it was.", f"Byte {at:,} is other.", "Run again."
                ) from error
            yield row


def _texts(row: dict[str, Any], columns: ColumnNames) -> list[Text]:
    """The captions of an annotation: one, or those of a list; its id stays with the first."""
    field = columns.text or "caption"
    own = {key: value for key, value in row.items() if key not in ("image_id", field, "source")}
    further = {key: value for key, value in own.items() if key != "id"}
    source = str(row.get("source", "original"))
    return [
        Text(word, source, further if at else own) for at, word in enumerate(words_of(row.get(field)) or [""])
    ]


def write(out: Path, shard: str, pairs: Iterable[Pair], like: Shard | None = None) -> None:
    """Images linked (or copied) and the shard's images with their captions."""
    if like is not None and like.format == "coco" and _parts.target(shard, DEFAULT)[1] == 0:
        _parts.write_lines(out, _head(shard), [_json.others(like.file)])
    rows = []
    first = next(_captions(like), {}) if like is not None and like.format == "coco" else {}
    order = list(first) or ["image_id", "id", "caption"]
    for pair, name in _lists.store(out, list(pairs)):
        own = str(pair.meta.get("file_name", ""))
        image = {**pair.meta, "file_name": own if own and f"/{name}".endswith(f"/{own}") else name}
        rows.append({"image": image, "captions": [_annotation(text, order) for text in pair.texts]})
    _parts.write_lines(out, shard, rows)


def _head(shard: str) -> str:
    """The part with what a file holds beside images and annotations."""
    return f"{shard}.head"


def _annotation(text: Text, order: list[str]) -> dict[str, Any]:
    """An annotation with its fields in order; ids that are null are given when the file is put together."""
    source = {} if text.source == "original" else {"source": text.source}
    return _parts.in_order({"id": None, **text.meta, "image_id": None, "caption": text.text, **source}, order)


def finish(out: Path, shards: list[str]) -> None:
    """Merge the parts into COCO's two arrays; images and captions without an id get the next free one."""

    def join(file: Path, members: list[str]) -> None:
        images, captions = _numbered(out, members)
        part = _parts.part(out, _head(members[0]))
        head: dict[str, object] = {"info": {}, "licenses": []}  # evaluation tools read them
        for row in _parts.lines(out, [_head(members[0])]) if part.exists() else ():
            head |= row
        with atomic_write(file) as target:
            target.write(json.dumps(head, ensure_ascii=False).encode("utf-8", "replace")[:-1])
            target.write(b',\n"images": ')
            _parts.write_array(target, images)
            target.write(b',\n"annotations": ')
            _parts.write_array(target, captions)
            target.write(b"}\n")
        part.unlink(missing_ok=True)

    _parts.merge(out, shards, DEFAULT, join)


def _numbered(out: Path, members: list[str]) -> tuple[Iterator[dict[str, Any]], Iterator[dict[str, Any]]]:
    """The images and the captions of the parts, each with its id, in two passes over the same parts."""
    taken_images, taken_captions = 0, 0
    for row in _parts.lines(out, members):
        taken_images = max([taken_images, *_ids([row["image"]])])
        taken_captions = max([taken_captions, *_ids(row["captions"])])

    def images() -> Iterator[dict[str, Any]]:
        for row, image_id in _with_ids():
            yield {**row["image"], "id": image_id}

    def captions() -> Iterator[dict[str, Any]]:
        free = taken_captions
        for row, image_id in _with_ids():
            for caption in row["captions"]:
                own = caption.get("id")
                free += own is None
                yield {**caption, "image_id": image_id, "id": free if own is None else own}

    def _with_ids() -> Iterator[tuple[dict[str, Any], int | str]]:
        free = taken_images
        for row in _parts.lines(out, members):
            own = row["image"].get("id")
            free += own is None
            yield row, free if own is None else own

    return images(), captions()


def _ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows if isinstance(row.get("id"), int)]
