"""The judge `self`: how well it finds wrong captions, and its cost, without published weights and labels.

    python experiments/benchmarks/bench_selfjudge.py ../shared/data/ucm/train --seeds 3 --workers 2
    python experiments/benchmarks/bench_selfjudge.py world --seeds 3 --workers 2      # 4,000 drawn pairs, noise of seven kinds

A share of the pictures gets another picture's texts (a cycle through them, by the seed), the fold models are trained, and the
pictures are ranked by the mean score of their texts. Printed are the AUROC of the wrong ones with DeLong's interval, their
recall at a 5 % false drop with a bootstrap interval, wall and CPU seconds. In the drawn world the noise is the world's own,
and each kind is compared with the clean pairs.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean import ridge_training, self_judge
from pairloom.clean.calibrate import calibrate
from pairloom.clean.calibrated_judge import CalibratedJudge
from pairloom.clean.feature_store import encoded_texts, part_of, read_encoded
from pairloom.clean.judges import load_judge
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import LEARN, Rows, audit_rows, plant, read_donors, read_part, write_donors
from pairloom.data.shards import open_set
from pairloom.metrics.calibrate import auroc_interval, found_at
from pairloom.scale import Execution
from pairloom.world import World, write_folder

WORLD = 4000


def spoil(texts: list[list[str]], share: float, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """Exchange the texts of a random share of the pictures among these pictures. Returns the texts, and which are wrong [n]."""
    written = np.flatnonzero([bool(group) for group in texts])
    chosen = np.random.default_rng(seed).permutation(written)[: round(share * len(written))]
    shuffled, bad = list(texts), np.zeros(len(texts), bool)
    for row, donor in zip(chosen, np.roll(chosen, 1)):
        shuffled[row] = texts[donor]
    bad[chosen] = True
    return shuffled, bad


class Pictures:
    """Picture source of a whole set: the audit's pixels, by row."""

    def __init__(self, data: Rows) -> None:
        self.data, self.image_keys = data, list(data.column("image_key"))

    def keys(self, rows: list[int]) -> list[str]:
        return [self.image_keys[row] for row in rows]

    def pixels(self, rows: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.data.pixels[rows]), np.ones(len(rows), bool)

    def features(self, identity: str) -> WholeSet:
        return WholeSet(self.data, identity)


class WholeSet:
    """Raw features of a whole set, by row."""

    def __init__(self, data: Rows, identity: str) -> None:
        self.data, self.identity = data, identity

    def pictures(self, rows: list[int]) -> np.ndarray:
        parts = [
            read_encoded(part_of(self.data.work, name), "pictures", self.identity)
            for name in self.data.shards
        ]
        return np.concatenate(parts)[rows]

    def texts(self) -> dict[str, np.ndarray]:
        return {
            text: row
            for _, texts, table in encoded_texts(self.data, self.identity)
            for text, row in zip(texts, table)
        }


def scored(judge: CalibratedJudge, pictures: Pictures, texts: list[list[str]]) -> np.ndarray:
    """Mean score of each picture's texts [n]; NaN without texts."""
    requests = [(row, text) for row, group in enumerate(texts) for text in group]
    scores = judge.score(pictures, [row for row, _ in requests], [text for _, text in requests])
    sums = np.bincount([row for row, _ in requests], scores, len(texts))
    counts = np.array([len(group) for group in texts])
    return np.divide(sums, counts, out=np.full(len(texts), np.nan), where=counts > 0)


def write_texts(folder: Path, data: Rows, texts: list[list[str]]) -> Path:
    """Write the parts with the judge's training texts: these texts of every row."""
    folder.mkdir(parents=True)
    for shard, start, stop in zip(data.shards, data.first, data.first[1:]):
        part = pa.table({LEARN: pa.array(texts[start:stop], pa.list_(pa.string()))})
        pq.write_table(part, folder / f"{shard}.parquet")
    return folder


def planted_texts(data: Rows, judge: CalibratedJudge) -> list[tuple[int, str]]:
    """Planted mismatches of a set: (row, text)."""
    donors = read_donors(data.work)
    return [
        (int(start) + row, text)
        for shard, start in zip(data.shards, data.first)
        for row, text in plant(read_part(data.folder, shard), donors, 2, judge.fold_of)
    ]


def separation(good: np.ndarray, bad: np.ndarray) -> dict[str, object]:
    """Separation of good and bad scores: AUROC and recall at a 5 % false drop, each with its interval."""
    area, recall = auroc_interval(good, bad), found_at(good, bad, 0.05)
    return {
        "auroc": [round(number, 4) for number in (area.value, area.low, area.high)],
        "found": [round(number, 3) for number in (recall.value, recall.low, recall.high)],
        "bad": len(bad),
    }


def kinds_of(world: World, data: Rows) -> np.ndarray:
    """The kind of noise of every row, "" for a clean text."""
    by_name = {f"{index:06d}": world.row(index).truth.noise for index in range(world.count)}
    return np.array([by_name[Path(name).stem] for name in data.column("name")])


def measure(args: argparse.Namespace, seed: int, work: Path) -> dict[str, object]:
    """Run one seed on one set."""
    settings = CleanSettings(
        size=args.size, effort=args.effort, seed=seed, self_system=args.judge,
        image_tower=args.image_tower, text_tower=args.text_tower,
    )  # fmt: skip
    world = World(
        WORLD, seed=seed, level="simple", size=args.size, styles=("terse", "full"), noise=args.noise
    )
    if args.set == "world":
        write_folder(world, work / "set")
    execution = Execution(workers=args.workers)
    pairs = open_set(work / "set" if args.set == "world" else args.set)
    data = audit_rows(pairs, work / "audited", args.size, execution)
    texts = list(data.column(LEARN))
    if args.set == "world":
        kinds = kinds_of(world, data)
    else:
        texts, bad = spoil(texts, args.noise, seed)
        kinds = np.where(bad, "mismatch", "")
    start, used = time.perf_counter(), _cpu()
    learnt = write_texts(work / "texts", data, texts)
    write_donors(data)
    common = settings, execution, lambda *_, **__: None
    where = (
        ridge_training.train_judge(work, pairs, data, learnt, *common)
        if args.judge == self_judge.RIDGE
        else self_judge.train_judge(work, data, learnt, *common)
    )
    judge, pictures = load_judge(where), Pictures(data)
    scores = scored(judge, pictures, texts)
    wall, cpu = time.perf_counter() - start, _cpu() - used
    known = np.isfinite(scores)
    requests = [(row, text) for row, text in planted_texts(data, judge) if texts[row]]
    planted = judge.score(pictures, [row for row, _ in requests], [text for _, text in requests])
    facts = calibrate(scores[known], planted, 0.05).facts
    return {
        "set": str(args.set), "seed": seed, "pairs": int(known.sum()), "wall_s": round(wall), "cpu_s": round(cpu),
        **{kind: separation(scores[known & (kinds == "")], scores[known & (kinds == kind)])
           for kind in sorted(set(kinds[known]) - {""})},
        "planted_auroc": round(facts["auroc"], 4) if "auroc" in facts else None, "decides": facts["decides"],
    }  # fmt: skip


def _cpu() -> float:
    return sum(
        part.ru_utime + part.ru_stime
        for part in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--judge", default=self_judge.RIDGE, help="ridge, or a system to train")
    parser.add_argument("--image-tower", help="a path or a name (docs/towers.md)")
    parser.add_argument("--text-tower", help="a path or a name")
    args = parser.parse_args()
    for seed in range(args.first, args.first + args.seeds):
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(measure(args, seed, Path(work))), flush=True)


if __name__ == "__main__":
    main()
