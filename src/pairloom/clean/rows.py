"""Audited rows: the facts about each pair after the audit, in a part on disk for every shard.

The parts are the only store: the tasks of a shard read its part, and training reads all parts one after the other.
Does not know: the files of pictures, models, decisions.
"""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pairloom.clean import audit
from pairloom.clean.audit_phrases import CODE
from pairloom.clean.audit_set import Findings, check
from pairloom.clean.faults import EVIDENCE, is_bad
from pairloom.clean.merged_copies import MergedCopies
from pairloom.clean.perceptual_hash import SIZE
from pairloom.clean.shared_phrases import SharedPhrases
from pairloom.clean.text_faults import text_faults
from pairloom.data.disk import atomic_write
from pairloom.data.pair import seed_of
from pairloom.data.shards import PairSet
from pairloom.scale import Execution

DONORS = 20_000  # texts that planted mismatches are drawn from; a sample, which bounds the memory
LEARN = "learn"  # the column of a part with the training texts of each row
SCORED = "scored"  # and that with the texts that a judge scores
SCHEMA = pa.schema(
    [
        *audit.SCHEMA,
        ("usable", pa.bool_()),  # the picture can be read and has no bad fault
        ("judged", pa.list_(pa.int32())),  # the texts that no rule drops, which a judge scores
        (SCORED, pa.list_(pa.string())),  # these texts
        (
            LEARN,
            pa.list_(pa.string()),
        ),  # those of them of which no doubt is evidence that they describe nothing
    ]
)
DONOR_SCHEMA = pa.schema([("image_key", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class Rows:
    """Audited pairs of a set: a part for each shard in work/rows, and the pixels of all in one file.

    shards: their names, in order; counts: pairs of each.
    """

    work: Path
    shards: tuple[str, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.counts)

    @cached_property
    def first(self) -> np.ndarray:
        """First rows of the shards [shards + 1]: shard s has the rows first[s]:first[s + 1] of the set."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    @property
    def folder(self) -> Path:
        return self.work / "rows"

    def column(self, name: str) -> Iterator[Any]:
        """Values of a column over all shards, with one shard in memory at a time."""
        return column_of(self.folder, self.shards, name)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Pixels of all pairs, uint8 [n size size 3], memory-mapped."""
        return np.load(self.work / "pixels.npy", mmap_mode="r")


def column_of(folder: Path, shards: Iterable[str], name: str) -> Iterator[Any]:
    """Values of a column of the shards' parts in a folder, in order."""
    for shard in shards:
        yield from read_part(folder, shard, [name]).column(name).to_pylist()


def read_part(folder: Path, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a shard's part in a folder of parts."""
    with pq.ParquetFile(folder / f"{shard}.parquet") as part:
        return part.read(columns=columns, use_threads=False)


def read_descriptors(rows: Rows) -> NDArray[np.int8]:
    """Descriptors of all pictures [n SIZE] (see `perceptual_hash`); 0 where there is none."""
    each = (row or bytes(SIZE) for row in rows.column("descriptor"))
    return np.frombuffer(b"".join(each), np.int8).reshape(-1, SIZE)


def doubted_texts(work: Path, shard: str) -> set[tuple[int, int]]:
    """Texts of a shard, as (row, text_id), of which a doubt is evidence that they describe nothing."""
    faults = read_part(work / "rows", shard, ["text_faults"]).column("text_faults").to_pylist()
    return {
        (row, at)
        for row, each in enumerate(faults)
        for at, codes in enumerate(each)
        if not EVIDENCE.isdisjoint(codes)
    }


def load(work: Path) -> Rows:
    """Load the rows that `gather` has written."""
    known = json.loads((work / "shards.json").read_text())
    return Rows(work, tuple(known["shards"]), tuple(known["counts"]))


def gather(
    work: Path, shards: Sequence[str], findings: Findings, repairs: bool = False, merge: bool = False
) -> None:
    """Write the rows of a set: the parts of the audit, with the faults across shards, and the texts to judge and to train
    on. repairs: take shared phrases off the texts; merge: merge copies of pictures."""
    if (work / "shards.json").exists():
        return
    phrases = findings.phrases if repairs else SharedPhrases()
    counts = [facts.pairs for facts in findings.facts]
    first = np.concatenate([[0], np.cumsum(counts)]).tolist()
    copies = MergedCopies.choose(findings.groups, findings.bad_pairs()) if merge else None
    if copies is not None:
        for start, (_, table, _, own_faults) in zip(first, _audited(work, shards, findings, phrases)):
            copies.collect(start, table, own_faults)
    for start, (shard, table, image_faults, own_faults) in zip(
        first, _audited(work, shards, findings, phrases)
    ):
        if copies is not None:
            table = copies.apply(start, table, image_faults, own_faults)
        write_rows(work, shard, table, image_faults, own_faults)
    _join_pixels(work, shards, sum(counts))
    with atomic_write(work / "shards.json") as file:  # last, since it marks complete rows
        file.write(json.dumps({"shards": list(shards), "counts": counts}).encode())


def _audited(
    work: Path, shards: Sequence[str], findings: Findings, phrases: SharedPhrases
) -> Iterator[tuple[str, pa.Table, list[list[str]], list[list[list[str]]]]]:
    """(shard, the audit's part of it without these phrases, faults of its pictures, faults of its texts), of each shard."""
    for shard, whole in zip(shards, findings.by_shard()):
        table = read_part(work / "audit", shard)
        image_faults, own_faults = (
            table.column(name).to_pylist() for name in ("image_faults", "text_faults")
        )
        whole.add_to(image_faults, own_faults)
        if phrases:
            table = _without_phrases(table, phrases, own_faults)
        yield shard, table, image_faults, own_faults


def _without_phrases(table: pa.Table, phrases: SharedPhrases, own_faults: list[list[list[str]]]) -> pa.Table:
    """The audit's part of a shard without shared phrases in its texts, whose faults, in place, become those of the new texts."""
    texts, originals = (table.column(name).to_pylist() for name in ("texts", "originals"))
    for row, each in enumerate(texts):
        for at, old in enumerate(each):
            new = phrases.strip(old)
            if new == old:
                continue
            texts[row][at], originals[row][at] = new, originals[row][at] or old
            before = {*text_faults(old), CODE, "repaired_text"}
            across = [code for code in own_faults[row][at] if code not in before]
            own_faults[row][at] = [*text_faults(new), "repaired_text", *across]
    for name, values in (("texts", texts), ("originals", originals)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(values, audit.SCHEMA.field(name).type))
    return table


def audit_rows(pairs: PairSet, work: Path, size: int, execution: Execution = Execution()) -> Rows:
    """Audit a second set into rows and pixels."""
    names = [shard.name for shard in pairs.shards]
    (work / "audit").mkdir(parents=True, exist_ok=True)
    gather(work, names, check(pairs, execution, folder=work / "audit", size=size))
    return load(work)


def write_rows(
    work: Path, shard: str, table: pa.Table, image_faults: list[list[str]], text_faults: list[list[list[str]]]
) -> None:
    """Write a shard's part: the audit's columns with these faults, and the texts to judge and to train on."""
    usable = [not is_bad(faults) for faults in image_faults]
    judged = [
        [at for at, faults in enumerate(each) if fine and not is_bad(faults)]
        for fine, each in zip(usable, text_faults)
    ]
    texts = table.column("texts").to_pylist()
    learnt = [
        [at for at in chosen if EVIDENCE.isdisjoint(each[at])] for chosen, each in zip(judged, text_faults)
    ]
    more = {
        "image_faults": image_faults,
        "text_faults": text_faults,
        "usable": usable,
        "judged": judged,
        SCORED: [[each[at] for at in chosen] for each, chosen in zip(texts, judged)],
        LEARN: [[each[at] for at in chosen] for each, chosen in zip(texts, learnt)],
    }
    columns = {field.name: more.get(field.name) for field in SCHEMA}
    arrays = [
        table.column(name) if values is None else pa.array(values, SCHEMA.field(name).type)
        for name, values in columns.items()
    ]
    with atomic_write(work / "rows" / f"{shard}.parquet") as file:
        pq.write_table(pa.table(arrays, SCHEMA), file)


def _join_pixels(work: Path, shards: Sequence[str], total: int) -> None:
    """Concatenate the pixels of all shards to one array on disk, by copying bytes."""
    with atomic_write(work / "pixels.npy") as file:
        for number, shard in enumerate(shards):
            with open(work / "audit" / f"{shard}.npy", "rb") as part:
                np.lib.format.read_magic(part)
                shape, _, _ = np.lib.format.read_array_header_1_0(part)
                if not number:
                    head = {"descr": "|u1", "fortran_order": False, "shape": (total, *shape[1:])}
                    np.lib.format.write_array_header_1_0(file, head)
                shutil.copyfileobj(part, file, 1 << 20)


# -- planted mismatches ------------------------------------------------------------------------------------------------


def write_donors(rows: Rows) -> None:
    """Choose and write the texts that planted mismatches are drawn from: the first of all training texts by content hash."""
    path = rows.work / "donors.parquet"
    if path.exists():
        return
    chosen = heapq.nsmallest(DONORS, _judged_texts(rows))
    table = pa.table([[one[3] for one in chosen], [one[4] for one in chosen]], DONOR_SCHEMA)
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_donors(work: Path) -> list[tuple[str, str]]:
    """The donors of planted mismatches as (image_key, text)."""
    file = work / "donors.parquet"
    return _donors(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _donors(file: Path, _: int) -> list[tuple[str, str]]:
    table = pq.read_table(file)
    return list(zip(*(table.column(name).to_pylist() for name in ("image_key", "text"))))


def _judged_texts(rows: Rows) -> Iterator[tuple[int, int, int, str, str]]:
    """All judged texts as (seed, row, text_id, image_key, text)."""
    row = 0
    for shard in rows.shards:
        part = read_part(rows.folder, shard, ["image_key", "judged", LEARN])
        for key, judged, texts in zip(*(column.to_pylist() for column in part.columns)):
            for at, text in zip(judged, texts):
                yield seed_of(key, text), row, at, key, text
            row += 1


def plant(
    part: pa.Table,
    donors: Sequence[tuple[str, str]],
    times: int,
    fold_of: Callable[[str], int] = lambda key: 0,
) -> Iterator[tuple[int, str]]:
    """Planted mismatches of a shard: (row, a text of another picture), `times` for every row with a judged text.

    The donor (image_key, text) is drawn by the picture's key, so that it is the same in every run and on every machine.
    Texts of the row itself, and of the same picture, are skipped. fold_of: the fold of a picture; its donors are of the same
    fold, since a cross-fitted judge knows the texts of the other folds from its training.
    """
    groups: dict[int, list[tuple[str, str]]] = {}
    for donor in donors:
        groups.setdefault(fold_of(donor[0]), []).append(donor)
    columns = (part.column(name).to_pylist() for name in ("image_key", "texts", "judged"))
    for row, (key, texts, judged) in enumerate(zip(*columns)):
        near = groups.get(fold_of(key), [])
        if not judged or not near:
            continue
        own = {text.strip().lower() for text in texts}
        for time in range(times):
            start = seed_of(key, "planted", time)
            for step in range(min(len(near), 50)):
                other, text = near[(start + step * 7919) % len(near)]
                if other != key and text.strip().lower() not in own:
                    yield row, text
                    break
