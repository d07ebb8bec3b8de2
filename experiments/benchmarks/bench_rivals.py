"""The judge `self` and its rivals on one spoiled set: similarity alone, ridge alone, neighbours alone, LEMoN.

    python experiments/benchmarks/bench_rivals.py ../shared/data/coco-sample --image-tower efficientnet-lite0 \\
        --text-tower all-minilm-l6-v2 --noise noun
    python experiments/benchmarks/bench_rivals.py ../shared/data/coco-sample     # hand-made features and words

LEMoN's protocol: one caption a picture (drawn once); a share of the pairs, by the seed, gets another picture's caption, drawn among
all (`random`) or among those that share a noun (`noun`; see `rivals.nouns`); a caption equal to the old one is not called wrong.
Captions that the audit's rules take out are neither exchanged nor measured.

As there captions are exchanged inside a split, and a split is judged by what another one shows: here by the five folds of the
judge. Without that the noise betrays itself: a drawn caption is then also that of its own picture, so that an equal text among the
neighbours is the sign of a wrong pair. All scores are computed from the same raw features, in the judge's own feature space; the
rivals use the tower's view of the pictures where there is one.

- similarity alone: the encoders have no space of both, so it is that of one kernel ridge regression on all pairs, the judged one
  among them; ridge alone: the same, cross-fitted in five folds. Cosines without the mean of the texts.
- neighbours alone: LEMoN's two terms, without the distance of picture and text.
- LEMoN: with the cross-fitted ridge as that distance, and the paper's settings for no labelled validation set; a further row has the
  settings with the highest AUROC of a grid, chosen with the truth.

Printed after every seed, for those so far: AUROC and recall at a 5 % false drop, averaged over the seeds; the paired difference "ours - rival" of the AUROC; CPU seconds
beyond encoding. Intervals are bootstraps over seeds and pairs, those of the recall the average of the seeds'.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_selfjudge import kept, read_scores, spoiled
from rivals import (
    MOST,
    Lemon,
    area_values,
    best_lemon,
    both_neighbours,
    neighbours_alone,
    noun_source,
    nouns,
    random_source,
    ridge_similarity,
)

from pairloom.clean import ridge_training
from pairloom.clean.encoding import EncodeTask, encode_shard, learn_encoders, open_encoders
from pairloom.clean.folds import GROUPS, fold_of
from pairloom.clean.judges import JudgeAt
from pairloom.clean.plan import CleanSettings
from pairloom.clean.rows import LEARN, Rows, audit_rows
from pairloom.clean.scoring import ScoreTask, score_shard
from pairloom.clean.training_table import FOLDS, TrainingTable, near_duplicate_groups
from pairloom.data.shards import PairSet, open_set
from pairloom.metrics.calibrate import auroc, found_at
from pairloom.metrics.compare import bootstrap, difference
from pairloom.runtime.threads import one_thread
from pairloom.scale import Execution

OURS, TUNED = "ours", "LEMoN, chosen with the truth"
ROWS = ("similarity alone", "ridge alone", "neighbours alone", "LEMoN", TUNED, OURS)
CAPTION = 42  # seed of the caption that a picture keeps


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def one_caption(place: Path, out: Path) -> PairSet:
    """A set with one of the captions of every picture."""
    if not out.exists():
        out.mkdir(parents=True)
        draw = np.random.default_rng(CAPTION)
        for row, pair in enumerate(open_set(place).pairs()):
            if not pair.problem and pair.texts:
                file = out / f"{row:06d}{Path(pair.image.name).suffix}"
                file.write_bytes(pair.image.read())
                file.with_suffix(".txt").write_text(pair.texts[draw.integers(len(pair.texts))].text)
    return open_set(out)


def prepare(args: argparse.Namespace, work: Path) -> tuple[PairSet, Rows]:
    """Audit and encode the set."""
    pairs, execution = one_caption(args.set, work / "set"), Execution()
    data = audit_rows(pairs, work / "audited", args.size, execution)
    encoders = learn_encoders(data, args.size, args.image_tower, args.text_tower, 0, "cpu")
    for _ in execution.run(
        encode_shard, [EncodeTask(data.work, each, args.size, encoders) for each in pairs.shards]
    ):
        pass
    return pairs, data


def source_of(data: Rows, noise: str, share: float, seed: int) -> np.ndarray:
    """The row whose caption each row gets [n]."""
    texts = np.array([group[0] if group else "" for group in data.column(LEARN)], object)
    moved = near_duplicate_groups(data)
    groups = np.array([moved.get(key, fold_of(key, GROUPS)) for key in data.column("image_key")])
    known, source = nouns(texts.tolist()), np.arange(len(texts))
    for fold in range(FOLDS):
        rows = np.flatnonzero((groups % FOLDS == fold) & (texts != ""))
        mine = texts[rows].tolist()
        by = seed, fold
        drawn = (
            random_source(len(mine), share, by) if noise == "random" else noun_source(mine, known, share, by)
        )
        source[rows] = rows[drawn]
    return source


class Measured(dict[str, np.ndarray]):
    """Scores [n] of every row of the table, and its CPU seconds in `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, score: Callable[[], np.ndarray], before: float = 0.0) -> np.ndarray:
        start = cpu()
        self[name] = score()
        self.seconds[name] = cpu() - start + before
        return self[name]


def judged(pairs: PairSet, data: Rows, work: Path, settings: CleanSettings) -> np.ndarray:
    """Scores of the product's judge [rows]; nan where a row has none."""
    where = ridge_training.train_judge(
        work, pairs, data, data.folder, settings, Execution(), lambda *_, **__: None
    )
    for shard in pairs.shards:
        score_shard(ScoreTask(work, shard, work, JudgeAt(str(where)), 0))
    own, owner, _ = read_scores(work, data)
    scores = np.full(len(data), np.nan)
    scores[owner] = own
    return scores


def measure(
    args: argparse.Namespace, pairs: PairSet, clean: Rows, seed: int, work: Path
) -> tuple[Measured, np.ndarray]:
    """All scores on one spoiled set, and which pairs are wrong."""
    source = source_of(clean, args.noise, args.share, seed)
    texts = [group[0] if group else "" for group in clean.column(LEARN)]
    wrong = np.array([texts[row] != texts[other] for row, other in enumerate(source)])
    data = spoiled(clean, source, work)
    settings = CleanSettings(
        size=args.size, seed=seed, image_tower=args.image_tower, text_tower=args.text_tower
    )
    results = Measured()
    ours = results.run(OURS, lambda: judged(pairs, data, work, settings))
    rows = np.flatnonzero(np.array([bool(text) for text in texts]))
    start = cpu()
    with one_thread():
        encoders = open_encoders(data.work / "encoders", "cpu")
        table = TrainingTable.read(data, data.folder, encoders, seed)
        pictures, sentences = table.pictures[-1], table.texts
        assert len(sentences) == len(rows)
        space = cpu() - start
        inputs = pictures, sentences, table.folds, seed
        results.run("similarity alone", lambda: ridge_similarity(*inputs, cross=False), space)
        fit = results.run("ridge alone", lambda: ridge_similarity(*inputs, cross=True), space)
        start = cpu()
        both = both_neighbours(pictures, sentences, table.folds, MOST)
        search = cpu() - start
        results.run("neighbours alone", lambda: neighbours_alone(*both), space + search)
        before = results.seconds["ridge alone"] + search
        results.run("LEMoN", lambda: Lemon().score(*both, 1 - fit), before)
        chosen, tuned = best_lemon(*both, 1 - fit, wrong[rows])
        results[TUNED] = tuned
    print(
        json.dumps({"seed": seed, "pairs": len(rows), "wrong": int(wrong.sum()), "chosen": vars(chosen)}),
        flush=True,
    )
    results[OURS] = ours[rows]
    usable = np.isfinite(results[OURS])
    assert usable.all(), f"{(~usable).sum()} pairs have no score"
    return results, wrong[rows]


def show(runs: list[tuple[Measured, np.ndarray]]) -> None:
    """Print the table of the seeds so far."""
    areas = {name: np.stack([area_values(scores[name], wrong) for scores, wrong in runs]) for name in ROWS}
    print("| score | AUROC | found at a 5 % false drop | ours - it, AUROC | CPU s |\n|---|---|---|---|---|")
    for name in ROWS:
        recalls = [found_at(scores[name][~wrong], scores[name][wrong], 0.05) for scores, wrong in runs]
        recall, low, high = (
            np.mean([getattr(each, field) for each in recalls]) for field in ("value", "low", "high")
        )
        less = "" if name == OURS else str(difference(areas[OURS], areas[name]))
        seconds = [scores.seconds[name] for scores, _ in runs if name in scores.seconds]
        cost = f"{np.mean(seconds):.1f}" if seconds else ""
        print(
            f"| {name} | {bootstrap(areas[name])} | {recall:.2f} [{low:.2f}, {high:.2f}] | {less} | {cost} |"
        )
    print(
        json.dumps({name: [round(auroc(s[name][~w], s[name][w]), 4) for s, w in runs] for name in ROWS}),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--noise", choices=("random", "noun"), default="random")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--work", type=Path, help="a folder that keeps audit and features for another run")
    parser.add_argument("--image-tower", help="a path or a name (docs/towers.md)")
    parser.add_argument("--text-tower", help="a path or a name")
    args = parser.parse_args()
    runs = []
    with kept(args.work) as work:
        pairs, data = prepare(args, work)
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as cell:
                runs.append(measure(args, pairs, data, seed, Path(cell) / "work"))
            show(runs)


if __name__ == "__main__":
    main()
