"""Retrieval on UCM captions (1,680 / 210 / 210 aerial photos, 5 captions each, many equal): a small BLIP from scratch on a CPU.

    python experiments/benchmarks/bench_finetune.py ../shared/data/ucm --seeds 3                 # about 100 CPU seconds a seed
    python experiments/benchmarks/bench_finetune.py ../shared/data/ucm --see 400 --match 300     # the match head, too: 230

The whole model is trained by contrast under strong augmentation. With --match the paper's second loss follows, in the order
that is best for a small set (docs/log.md): contrast and matching with hard negatives, on cached encodings of the frozen image
tower. The test photos and all their captions are ranked in both directions by the `retrieve` task: by cosine, and with
--match with the best --k of each query re-ranked by the match head. Intervals: 95 %, bootstrap over photos. "chance" is R@1
of a random ranking. The output is a line of JSON for each seed, then a table with means over the seeds, the least low end and
the greatest high end. CPU seconds are of the process: training alone, then all. Captions of different photos are often equal
(377 of 1,050 are distinct); only the photo's own count as right, as in the published protocols.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
from frozen import Rememberer, encoded_pictures

from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.clean.views import AugmentedImages
from pairloom.data.loader import TextTable, pair_loader
from pairloom.data.order import Plan
from pairloom.data.pixels import open_image
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.model import Model, build
from pairloom.tasks.ranking import DIRECTIONS, Retrieved, settings, worth
from pairloom.tasks.retrieve import Corpus, Retriever
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

AT = (1, 5, 10)
SHAPE = (
    "patch=8 stem=residual image_depth=0 image_width=128 width=128 depth=2 heads=4 bag=true embedding=128 length=32 "
    "positions=40 dropout=0.1 queue=0 momentum=0 lm=0"
).split()


def learned(args: argparse.Namespace, seed: int) -> Model:
    """Train a BLIP that embeds and matches on the training photos."""
    pairs = list(open_set(args.set / "train").pairs())
    texts = [[text.text for text in pair.texts] for pair in pairs]
    tokens = Tokens.train([text for group in texts for text in group], 1000)
    words = [*SHAPE, f"image_size={args.size}"]
    model = build("blip", tokens, "tiny", [*words, "itm=0"], seed)
    pixels = numpy.stack([model.pixels.to_uint8(open_image(pair.image.read())) for pair in pairs])
    same: dict[tuple[str, ...], int] = {}
    ids = numpy.array(
        [same.setdefault(tuple(group), len(same)) for group in texts]
    )  # no negatives of each other
    table = TextTable.of(tokens, texts, model.config.length)
    common = dict(min_lr=0.0, warmup=0.1, weight_decay=0.05, betas=(0.9, 0.98), seed=seed, threads=1)
    loader = pair_loader(
        AugmentedImages(pixels, model.pixels.mean, model.pixels.std), table, ids=ids, window=0
    )
    seeing: Any = dict(common, lr=2e-3, batch=128, steps=args.see, precision="bf16", ema=0.99)
    fit(model.system, loader, Settings(**seeing))
    recalibrate_batch_norm(
        model.system, (model.system.encode_image(parts[0]) for parts in loader.read(Plan(128, seed), 0))
    )
    if not args.match:
        return model
    matcher = build("blip", tokens, "tiny", words, seed)
    put_tensors(matcher.system, tensors_of(model.system))
    seen = encoded_pictures(matcher, matcher.system.eval().towers.image, pixels)
    matching: Any = dict(common, lr=5e-4, batch=64, steps=args.match)
    fit(
        matcher.system,
        Rememberer(pair_loader(seen, table, ids=ids, window=0), blip=True),
        Settings(**matching),
    )
    return matcher


def measured(retrieved: Retrieved) -> dict[str, list[float]]:
    """Values of R@k by direction: value, low, high."""
    metrics = worth(retrieved, AT)
    return {
        f"{direction} R@{k}": [round(part, 4) for part in (one.value, one.low, one.high)]
        for direction in DIRECTIONS
        for k in AT
        for one in [metrics[direction][f"R@{k}"]]
    }


def run(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    began = time.process_time()
    model = learned(args, seed)
    trained = time.process_time() - began
    corpus = Corpus.of(open_set(args.set / args.part).pairs())
    retrieved = Retriever(model, corpus, settings("odds", args.k)).run()
    nothing = replace(retrieved, codes=numpy.zeros(0, numpy.int64), values=numpy.zeros(0))
    return {
        "seed": seed, "photos": len(retrieved.ids), "captions": len(retrieved.owner), "different captions": len(retrieved.strings),
        "cosine": measured(nothing), **({"re-ranked": measured(retrieved)} if args.match else {}),
        "chance": {"image to text": round(float((retrieved.owner == 0).mean()), 4), "text to image": round(1 / len(retrieved.ids), 4)},
        "training_cpu_s": round(trained), "cpu_s": round(time.process_time() - began),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Table of the means over the seeds, with the least low and the greatest high end."""
    names = [f"{direction} R@{k}" for direction in DIRECTIONS for k in AT]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for way in ("cosine", "re-ranked"):
        if way not in rows[0]:
            continue
        cells = []
        for name in names:
            values, lows, highs = zip(*(row[way][name] for row in rows))
            cells.append(f"{100 * numpy.mean(values):.1f} [{100 * min(lows):.1f}, {100 * max(highs):.1f}]")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--part", default="test", choices=("test", "val"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--see", type=int, default=300, help="steps of 128 pairs")
    parser.add_argument("--match", type=int, default=0, help="steps of 64 pairs; 0: no match head")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(args.first, args.first + args.seeds):
        rows.append(run(args, seed))
        print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
