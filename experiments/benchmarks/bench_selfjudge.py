"""The judge `self`: how well it finds wrong captions, and its cost, without published weights and labels.

    python experiments/benchmarks/bench_selfjudge.py ../shared/data/ucm/train --seeds 3 --workers 2
    python experiments/benchmarks/bench_selfjudge.py drawn --shares 0,.05,.1,.3 --dump scores   # for bench_budget.py
    python experiments/benchmarks/bench_selfjudge.py world    # 4,000 drawn pairs, each with noise of one of seven kinds

A share of the pictures gets another picture's texts (a cycle through them, by the seed), the judge is trained and scores the set
with the functions of `clean`, and the pictures are ranked by the mean score of their texts. The audit and the features are computed
once, as they do not depend on which text a picture has. `drawn` is a drawn world without noise; the noise of `world` is its own.

Printed are the AUROC of the wrong ones with DeLong's interval, their recall at a 5 % false drop with a bootstrap interval, wall
and CPU seconds. "without near duplicates" leaves out of the measurement, not of the training, the pictures that correlate above
.9 with another, or with its mirror image, in 32 x 32 greys.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.clean import ridge_training, rows, self_judge
from pairloom.clean.calibrate import calibrate
from pairloom.clean.encoding import EncodeTask, encode_shard, learn_encoders, open_encoders
from pairloom.clean.feature_store import distinct_texts, encoded_texts, part_of, read_encoded, write_encoded
from pairloom.clean.judges import JudgeAt
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import LEARN, SCORED, Rows, audit_rows, read_part, write_donors
from pairloom.clean.scoring import PLANTED, ScoreTask, score_shard
from pairloom.data.shards import PairSet, open_set
from pairloom.metrics.calibrate import auroc_interval, found_at
from pairloom.scale import Execution
from pairloom.world import World, write_folder

WORLD = 4000
NEAR = 0.9  # correlation above which two pictures are near duplicates
TEXTS = "texts", "text_faults", "judged", SCORED, LEARN  # columns of a picture's texts


def exchanged(data: Rows, share: float, seed: int) -> np.ndarray:
    """The row whose texts each row gets [n]: those of a random share of the rows with texts are exchanged in a cycle."""
    written = np.flatnonzero([bool(group) for group in data.column(LEARN)])
    chosen = np.random.default_rng(seed).permutation(written)[: round(share * len(written))]
    source = np.arange(len(data))
    source[chosen] = np.roll(chosen, 1)
    return source


def near_duplicates(data: Rows) -> np.ndarray:
    """Which pictures have a near duplicate [n]."""
    pixels = np.asarray(data.pixels, np.float32).mean(3)
    side = pixels.shape[1] // 2
    small = pixels.reshape(len(data), side, 2, side, 2).mean((2, 4))
    small -= small.mean((1, 2), keepdims=True)
    lengths = np.linalg.norm(small, axis=(1, 2))[:, None]
    table = small.reshape(len(data), -1) / np.maximum(lengths, 1e-6)
    mirrored = small[:, :, ::-1].reshape(len(data), -1) / np.maximum(lengths, 1e-6)
    same = table @ table.T
    np.fill_diagonal(same, 0)
    other = table @ mirrored.T
    np.fill_diagonal(other, 0)
    return np.maximum(same, other).max(1) > NEAR


def spoiled(data: Rows, source: np.ndarray, work: Path) -> Rows:
    """The work folder of a set whose rows have the texts of others: the same audit, pixels and features, put together anew."""
    (work / "rows").mkdir(parents=True)
    for name in ("audit", "pixels.npy", "encoders"):
        if (data.work / name).exists():
            (work / name).symlink_to(data.work / name)
    shutil.copy(data.work / "shards.json", work)
    values = {name: list(data.column(name)) for name in TEXTS}
    for shard, start, stop in zip(data.shards, data.first, data.first[1:]):
        part = read_part(data.folder, shard)
        for name in TEXTS:
            column = pa.array([values[name][row] for row in source[start:stop]], part.schema.field(name).type)
            part = part.set_column(part.schema.get_field_index(name), name, column)
        pq.write_table(part, work / "rows" / f"{shard}.parquet")
    new = rows.load(work)
    if (work / "encoders").exists():
        identity = open_encoders(data.work / "encoders", "cpu").identity
        known = {
            text: row for _, texts, table in encoded_texts(data, identity) for text, row in zip(texts, table)
        }
        for shard in new.shards:
            texts = distinct_texts(read_part(new.folder, shard, [SCORED]).column(SCORED).to_pylist())
            pictures = read_encoded(part_of(data.work, shard), "pictures", identity)
            assert pictures is not None
            write_encoded(
                part_of(work, shard),
                {"pictures": pictures, "texts": np.stack([known[text] for text in texts])},
                identity,
            )
    write_donors(new)
    return new


@dataclass(frozen=True)
class Prepared:
    """A set with its audit and its features. kinds [n]: kind of noise of each row, "" for none. near [n]: see `near_duplicates`."""

    pairs: PairSet
    data: Rows
    kinds: np.ndarray
    near: np.ndarray


def prepare(args: argparse.Namespace, seed: int, share: float, work: Path) -> Prepared:
    """Audit and encode a set; what is in the folder already is kept."""
    place = Path(args.set)
    if args.set in ("world", "drawn"):
        noise = share if args.set == "world" else 0.0
        world = World(WORLD, seed=seed, level="simple", size=args.size, styles=("terse", "full"), noise=noise)
        place = work / "set"
        if not place.exists():
            write_folder(world, place)
    pairs, execution = open_set(place), Execution(workers=args.workers)
    data = audit_rows(pairs, work / "audited", args.size, execution)
    if args.judge == self_judge.RIDGE:
        encoders = learn_encoders(data, args.size, args.image_tower, args.text_tower, 0, "cpu")
        tasks = [EncodeTask(data.work, shard, args.size, encoders) for shard in pairs.shards]
        for _ in execution.run(encode_shard, tasks):
            pass
    names = [Path(name).stem for name in data.column("name")]
    if args.set == "world":
        noises = {f"{index:06d}": world.row(index).truth.noise for index in range(world.count)}
        kinds = [noises[name] for name in names]
    else:
        wrong = set() if args.wrong is None else set(args.wrong.read_text().split())
        kinds = ["wrong before" if name in wrong else "" for name in names]
    return Prepared(pairs, data, np.array(kinds), near_duplicates(data))


def separation(good: np.ndarray, bad: np.ndarray) -> dict[str, object]:
    """Separation of good and bad scores: AUROC and recall at a 5 % false drop, each with its interval."""
    if not len(good) or not len(bad):
        return {"bad": len(bad)}
    area, recall = auroc_interval(good, bad), found_at(good, bad, 0.05)
    return {
        "auroc": [round(number, 4) for number in (area.value, area.low, area.high)],
        "found": [round(number, 3) for number in (recall.value, recall.low, recall.high)],
        "bad": len(bad),
    }  # fmt: skip


def read_scores(folder: Path, data: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finite scores of all own texts, the row of each, and the scores of planted mismatches."""
    tables = [read_part(folder / "scores", shard, ["row", "text_id", "score"]) for shard in data.shards]
    ids, scores = (
        np.concatenate([table.column(name).to_numpy() for table in tables]) for name in ("text_id", "score")
    )
    owner = np.concatenate(
        [table.column("row").to_numpy() + first for table, first in zip(tables, data.first)]
    )
    mine, finite = ids != PLANTED, np.isfinite(scores)
    return scores[mine & finite], owner[mine & finite], scores[~mine & finite]


def measure(
    args: argparse.Namespace, ready: Prepared, share: float, seed: int, work: Path
) -> dict[str, object]:
    """Train the judge on one spoiled set, score it, and compare with the truth."""
    settings = CleanSettings(
        size=args.size, effort=args.effort, seed=seed, self_system=args.judge,
        image_tower=args.image_tower, text_tower=args.text_tower,
    )  # fmt: skip
    execution, tell = Execution(workers=args.workers), lambda *_, **__: None
    source = exchanged(ready.data, 0.0 if args.set == "world" else share, seed)
    kinds = np.where(source == np.arange(len(source)), ready.kinds, "mismatch")
    start, used = time.perf_counter(), _cpu()
    data = spoiled(ready.data, source, work)
    learnt = settings, execution, tell
    where = (
        ridge_training.train_judge(work, ready.pairs, data, data.folder, *learnt)
        if args.judge == self_judge.RIDGE
        else self_judge.train_judge(work, data, data.folder, *learnt)
    )
    tasks = [ScoreTask(work, shard, work, JudgeAt(str(where))) for shard in ready.pairs.shards]
    for _ in execution.run(score_shard, tasks):
        pass
    wall, cpu = time.perf_counter() - start, _cpu() - used
    own, owner, planted = read_scores(work, data)
    if args.dump is not None:
        kind = "none" if args.image_tower is None else "tower"
        args.dump.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            args.dump / f"{args.name}_{kind}_{share:g}_{seed}.npz", own=own, own_picture=owner,
            own_bad=(kinds != "")[owner], own_near=ready.near[owner], planted=planted,
        )  # fmt: skip
    shown = np.unique(owner)
    means = np.bincount(owner, own)[shown] / np.bincount(owner)[shown]
    kinds, alone = kinds[shown], ~ready.near[shown]
    facts = calibrate(own, planted, 0.05, owner).facts
    return {
        "set": args.name, "share": share, "seed": seed, "pairs": len(shown), "near_duplicates": int((~alone).sum()),
        "wall_s": round(wall), "cpu_s": round(cpu),
        **{f"{kind}{name}": separation(means[some & (kinds == "")], means[some & (kinds == kind)])
           for kind in sorted(set(kinds) - {""})
           for name, some in (("", np.ones(len(shown), bool)), (" without near duplicates", alone))},
        "planted_auroc": round(facts["auroc"], 4) if "auroc" in facts else None, "decides": facts["decides"],
    }  # fmt: skip


def _cpu() -> float:
    return sum(
        part.ru_utime + part.ru_stime
        for part in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The folder, or a temporary one."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as work:
        yield Path(work)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", help="a set, drawn, or world")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shares", default="0.3", help="shares of wrong texts, with commas between them")
    parser.add_argument(
        "--wrong", type=Path, help="a file with the names of pairs whose texts are wrong already"
    )
    parser.add_argument("--dump", type=Path, help="a folder for the scores, which bench_budget.py reads")
    parser.add_argument("--name", help="of the set in the dumped files; without it that of its folder")
    parser.add_argument("--work", type=Path, help="a folder that keeps audit and features for another run")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--judge", default=self_judge.RIDGE, help="ridge, or a system to train")
    parser.add_argument("--image-tower", help="a path or a name (docs/towers.md)")
    parser.add_argument("--text-tower", help="a path or a name")
    args = parser.parse_args()
    args.name = args.name or Path(args.set).name
    with kept(args.work) as work:
        for share in map(float, args.shares.split(",")):
            for seed in range(args.first, args.first + args.seeds):
                place = work / f"{share:g}-{seed}" if args.set == "world" else work
                ready = prepare(args, seed if args.set == "world" else 0, share, place)
                with tempfile.TemporaryDirectory() as cell:
                    result = measure(args, ready, share, seed, Path(cell) / "work")
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
