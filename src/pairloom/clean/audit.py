"""Audit: the faults of a set that can be detected without a model. Step 1 of `clean`, all of `check`.

One shard at a time (`audit_shard`), then once across shards (`across`) on a few bytes per pair, so that memory does
not grow with the pictures. Does not know: scores, decisions, models.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pairloom.clean import perceptual_hash as phash
from pairloom.clean.duplicates import Groups, leaks, pixels_of, quality
from pairloom.clean.faults import is_bad
from pairloom.clean.frames import has_even_rim, inside_frame
from pairloom.clean.perceptual_hash import SIDE
from pairloom.clean.picture_faults import odd_sizes, picture_faults, thumbnail
from pairloom.clean.placeholders import placeholders, word_sketch
from pairloom.clean.repairs import repaired
from pairloom.clean.shard_facts import ShardFacts, joined_column, texts_of_pairs
from pairloom.clean.text_faults import text_faults
from pairloom.data.disk import atomic_write
from pairloom.data.pair import Pair, content_hash
from pairloom.data.pixels import Unreadable, read_image, squashed
from pairloom.data.shards import Shard
from pairloom.data.shards import read as read_shard

EXAMPLES = 20  # of each fault
SAMPLE = 20_000  # texts that the languages of a set are learnt from, which bounds the memory

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_key", pa.string()),
        ("name", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("originals", pa.list_(pa.string())),  # of repaired texts; none of the others
        ("sources", pa.list_(pa.string())),
        ("image_faults", pa.list_(pa.string())),
        ("text_faults", pa.list_(pa.list_(pa.string()))),
        ("problem", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pixels", pa.int64()),  # those inside a frame
        ("sharpness", pa.int32()),  # of the thumbnail
        ("bytes", pa.int64()),
        ("descriptor", pa.binary(phash.SIZE)),
    ]
)


@dataclass(frozen=True)
class AuditTask:
    """Task of auditing one shard. folder: for rows and pixels (None: they are not written); size: pixels a side (0: no pixels);
    sample: texts that are returned; repairs: apply the repairs of texts."""

    shard: Shard
    folder: Path | None = None
    size: int = 64
    sample: int = SAMPLE
    repairs: bool = False

    @property
    def part(self) -> Path | None:
        """The file of the shard's rows; its pixels are in a .npy file beside it."""
        return None if self.folder is None else self.folder / f"{self.shard.name}.parquet"


class _Notes:
    """Builder of ShardFacts, pair by pair."""

    def __init__(self, sample: int, with_descriptors: bool) -> None:
        self.size = sample
        self.with_descriptors = with_descriptors
        self.sample: list[tuple[int, str]] = []
        self.keys: list[int] = []
        self.images: list[int] = []
        self.quality: list[int] = []
        self.descriptors: list[bytes] = []
        self.words: list[int] = []
        self.texts: list[int] = []
        self.first = [0]
        self.bad_pairs: list[bool] = []
        self.bad_texts: list[bool] = []
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {}

    def pair(self, row: dict[str, Any]) -> None:
        self.keys.append(_short(row["key"]))
        self.images.append(_short(row["image_key"]) if row["descriptor"] is not None else 0)
        self.quality.append(quality(row["pixels"], row["sharpness"], row["bytes"]))
        self.descriptors += [row["descriptor"] or bytes(phash.SIZE)] if self.with_descriptors else []
        self.words.append(word_sketch(row["texts"]))
        for text, codes in zip(row["texts"], row["text_faults"]):
            self.texts.append(_short(content_hash(text.strip().lower().encode())))
            self.bad_texts.append(is_bad(codes))
            for code in codes:
                self._note(code, row["name"], text)
            if not self.bad_texts[-1]:
                self._draw(text)
        for code in row["image_faults"]:
            about = next((note for note in row["notes"] if code_of(note) == code), "") or row["problem"]
            self._note(code, row["name"], about or (row["texts"][0] if row["texts"] else ""))
        self.bad_pairs.append(is_bad(row["image_faults"]))
        if not row["texts"] and not self.bad_pairs[-1]:  # one row has one fault: what is bad of it says more
            self._note("no_text", row["name"], row["problem"] if row["problem"] != "no text" else "")
        self.first.append(len(self.texts))

    def _note(self, code: str, name: str, text: str) -> None:
        self.counts[code] += 1
        if len(shown := self.examples.setdefault(code, [])) < EXAMPLES:
            shown.append((name, text[:300]))

    def _draw(self, text: str) -> None:
        """Draw the text for the sample, by its content: those with the smallest hashes are in it."""
        self.sample.append((self.texts[-1], text[:300]))
        if len(self.sample) >= 2 * self.size:
            self.sample = heapq.nsmallest(self.size, self.sample)

    def facts(self, shard: str, place: Path | None = None) -> ShardFacts:
        """The facts of a shard. place: where their columns are written, if they are not there; None: they stay in memory."""
        columns: dict[str, np.ndarray] = {
            **{name: np.array(getattr(self, name), np.uint64) for name in ("keys", "images", "quality", "words", "texts")},
            "first_text": np.array(self.first, np.int32),
            "bad_pairs": np.array(self.bad_pairs, bool), "bad_texts": np.array(self.bad_texts, bool),
        }  # fmt: skip
        if place is None:
            raw = np.frombuffer(b"".join(self.descriptors), np.int8)
            columns["descriptors"] = raw.reshape(-1, phash.SIZE)
        elif not place.exists():
            with atomic_write(place) as file:
                np.savez(file, allow_pickle=False, **columns)
        bad = sum(self.bad_pairs) + sum(self.bad_texts)
        drawn = [text for _, text in heapq.nsmallest(self.size, self.sample)]
        return ShardFacts(
            shard, len(self.keys), len(self.texts), bad, columns if place is None else place, self.counts, self.examples, drawn
        )  # fmt: skip


def audit_shard(task: AuditTask) -> ShardFacts:
    """Audit every pair of a shard. A finished shard (in task.folder) is not decoded again."""
    part = task.part
    place = None if part is None else part.with_suffix(".npz")
    notes = _Notes(task.sample, with_descriptors=part is None)
    if part is not None and part.exists():
        with pq.ParquetFile(part) as table:
            for rows in table.iter_batches():
                for row in rows.to_pylist():
                    notes.pair(row)
        return notes.facts(task.shard.name, place)
    kept: list[dict[str, Any]] = []
    squares: list[np.ndarray] = []
    for pair in read_shard(task.shard):
        image, row = look(pair, 0 if part is None else 2 * task.size, task.repairs)
        notes.pair(row)
        if part is not None:
            kept.append(row)
            if task.size:
                squares.append(_square(image, task.size))
    if part is not None:
        _write(part, task.size, kept, squares)
    return notes.facts(task.shard.name, place)


def look(pair: Pair, least: int = 0, repairs: bool = False) -> tuple[Image.Image | None, dict[str, Any]]:
    """Audit one pair: (decoded RGB image or None, the audit's row with the faults of this pair).

    least: pixels of the shorter side that the image needs. Faults and descriptor come from a decoding of their own where that is
    another one, since a JPEG may be decoded at a reduced size: they are the same for any `least`. repairs: apply the repairs of
    texts.
    """
    raw = [_plain(text.text) for text in pair.texts]
    texts = [repaired(text) for text in raw] if repairs else raw
    row: dict[str, Any] = {
        "key": pair.key, "image_key": pair.image_key, "name": pair.name,
        "texts": texts, "originals": [old if old != new else None for old, new in zip(raw, texts)],
        "sources": [text.source for text in pair.texts], "image_faults": [],
        "text_faults": [text_faults(new) + ["repaired_text"] * (old != new) for old, new in zip(raw, texts)],
        "problem": _why(pair), "notes": list(pair.notes), "width": 0, "height": 0, "pixels": 0, "sharpness": 0, "bytes": 0, "descriptor": None,
    }  # fmt: skip
    if pair.problem and not pair.image_key:
        row["image_faults"] = [_fault_of(pair.problem)]
        if row["image_faults"] == ["broken_row"]:
            row["text_faults"] = [[] for _ in pair.texts]  # what is left of the row is no text
        return None, row
    try:
        data = pair.image.read()
        image, known = read_image(data, shrink_to=SIDE)
        small = thumbnail(image)
        grey = phash.grey_levels(small)
        box = inside_frame(image) if has_even_rim(grey) else None
        unframed = thumbnail(image, box) if box else small
        if min(image.size) < min(least, known.width, known.height):
            image = read_image(data, shrink_to=least)[0]
    except (Unreadable, OSError) as error:
        row["image_faults"], row["problem"] = ["unreadable"], str(error)
        return None, row
    row["image_faults"], row["sharpness"] = picture_faults(small, grey, known)
    row["image_faults"] += sorted({code_of(note) for note in pair.notes})
    if pair.problem.startswith("duplicate"):
        row["image_faults"].append("duplicate_name")
    if "unknown character set" in pair.problem and not pair.texts:
        row["image_faults"].append("charset")
    row["width"], row["height"], row["pixels"] = known.width, known.height, known.width * known.height
    if box:
        shown = (box[2] - box[0]) * (box[3] - box[1]) / (image.width * image.height)
        row["pixels"] = int(row["pixels"] * shown)
    row["bytes"], row["descriptor"] = (
        len(data),
        phash.describe(unframed, phash.grey_levels(unframed) if box else grey).tobytes(),
    )
    return image, row


def _why(pair: Pair) -> str:
    """The problem of a pair with what its reader noted, which is often the reason."""
    return f"{pair.problem}; {'; '.join(pair.notes)}" if pair.problem and pair.notes else pair.problem


def _fault_of(problem: str) -> str:
    """Code of the problem of a pair without a picture."""
    if "no image" in problem or "missing" in problem:
        return "no_image"
    return "broken_row" if problem.startswith(("row", "tar")) else "unreadable"


def code_of(note: str) -> str:
    """Code of what a reader noted."""
    if "by its name alone" in note:
        return "found_elsewhere"
    return "mixed_caption_files" if "there is a .txt too" in note else "repaired"


def _short(key: str) -> int:
    return int(key[:16], 16) if key else 0


def square_of(data: bytes, size: int) -> np.ndarray:
    """The audit's thumbnail [size size 3] of an encoded picture. Unreadable where it cannot be decoded."""
    return _square(read_image(data, shrink_to=max(2 * size, SIDE))[0], size)


def _square(image: Image.Image | None, size: int) -> np.ndarray:
    if image is None:
        return np.zeros((size, size, 3), np.uint8)
    return squashed(image, size)


def _plain(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _write(part: Path, size: int, rows: list[dict[str, Any]], pixels: list[np.ndarray]) -> None:
    if size:
        with atomic_write(part.with_suffix(".npy")) as file:
            np.save(file, np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8))
    with atomic_write(part) as file:  # last: it is the commit mark
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)


def across(
    shards: list[ShardFacts], groups: Groups, other: list[ShardFacts] | None = None
) -> dict[str, np.ndarray]:
    """Faults that need the whole set: code -> indices of pairs (for common_text of texts), in the order of the shards. groups: of
    its copies; other: a second set, to detect leaks."""
    images, keys, qualities, words, texts = (
        joined_column(shards, name) for name in ("images", "keys", "quality", "words", "texts")
    )
    counts = texts_of_pairs(shards)
    owner = np.repeat(np.arange(len(keys)), counts)
    both = np.zeros(len(keys), np.uint64)
    np.bitwise_xor.at(both, owner, texts)
    findings: dict[str, np.ndarray] = {}
    has = images != 0
    findings["exact_duplicate"] = np.setdiff1d(np.flatnonzero(has), _first_of(keys, has))
    findings["placeholder"] = placeholders(groups, both, words)
    findings["conflict"] = np.setdiff1d(_conflicts(images, keys, has), findings["placeholder"])
    findings["near_duplicate"] = np.setdiff1d(_several_files(images, groups), findings["placeholder"])
    findings["odd_size"] = odd_sizes(pixels_of(qualities))
    findings["common_text"] = _common(texts, images[owner] if len(owner) else owner, len(keys))
    if other is not None:
        findings["leak"] = leaks(shards, other)
    return {code: np.asarray(indices, np.int64) for code, indices in findings.items()}


def _several_files(images: np.ndarray, groups: Groups) -> np.ndarray:
    """Pairs of groups whose pictures are not all the same file."""
    rows = np.flatnonzero(groups.group_of >= 0)
    files = np.unique(np.stack([groups.group_of[rows].astype(np.uint64), images[rows]]), axis=1)[0]
    several = np.bincount(files.astype(np.int64), minlength=len(groups)) > 1
    return rows[several[groups.group_of[rows]]]


def _first_of(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    candidates = np.flatnonzero(among)
    _, first = np.unique(values[candidates], return_index=True)
    return candidates[first]


def _count_of(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[inverse]


def _conflicts(images: np.ndarray, keys: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Pairs whose picture also occurs under another key: the same picture with other texts."""
    rows = np.flatnonzero(has)
    _, first = np.unique(np.stack([images[rows], keys[rows]]), axis=1, return_index=True)
    distinct = rows[first]
    several = images[distinct][_count_of(images[distinct]) > 1]
    return np.flatnonzero(has & np.isin(images, several))


def _common(texts: np.ndarray, images: np.ndarray, pairs: int) -> np.ndarray:
    """Texts that more than half a percent of the pictures have, and more than ten pictures."""
    if not len(texts):
        return np.zeros(0, np.int64)
    distinct = np.unique(np.stack([texts, images]), axis=1)[0]
    values, counts = np.unique(distinct, return_counts=True)
    return np.flatnonzero(np.isin(texts, values[counts > max(10, 0.005 * pairs)]))
