"""The writers on UCM captions (1,680 / 210 / 210 aerial photos, 5 captions each), features trained from scratch.

    python benchmarks/bench_writers.py ../shared/data/ucm --seeds 3
    python benchmarks/bench_writers.py ../shared/data/ucm --systems "SAT soft" --steps 300 --start 400

For each seed one image tower is trained by contrast with the captions (`--start` steps; "from contrast" in the table), and
every writer that can begins with it and learns for `--steps` steps, encoder and all. Captions of the test photos: beam 3,
against all five references. CPU seconds are those of the process: the start, the writer's training, its writing. Published
(Lu et al., 2017, arXiv 1712.07835, from memory; VGG-16 features of ImageNet): printed under the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pairloom.data.loader import Held, Loader, TextTable
from pairloom.data.pixels import Transform, open_image
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.metrics.captions import evaluate
from pairloom.model import Model, build
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.tasks.practice import Cider, SelfCritical
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

MEASURES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D")
PUBLISHED = {
    "soft attention": (0.7454, 0.6545, 0.5855, 0.5250, 0.7237, 2.612),
    "hard attention": (0.8157, 0.7312, 0.6702, 0.6182, 0.7698, 2.995),
}
LENGTH = 32
STEM = dict(patch=8, image_width=96)
LSTM = dict(encoder="residual", tune=True, width=256, **STEM)
GAZE = dict(LSTM, word=128, layers=1, grid=14)
# name -> (system, its settings, whether a reward follows)
SYSTEMS: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    "Show and Tell": ("show_and_tell", dict(LSTM, dropout=0.3), False),
    "SAT soft": ("show_attend_tell", dict(GAZE, dropout=0.3), False),
    "SAT hard": ("show_attend_tell", dict(GAZE, dropout=0.3, mode="hard"), False),
    "SAT soft, then CIDEr": ("show_attend_tell", dict(GAZE, dropout=0.3), True),
    "BLIP": (
        "blip",
        dict(STEM, stem="residual", image_depth=0, width=96, depth=2, heads=4, embedding=64, queue=0, momentum=0,
             positions=LENGTH, dropout=0.1, label_smoothing=0.0),
        False,
    ),
    "CoCa": (
        "coca",
        dict(patch=16, image_width=96, image_depth=3, image_heads=4, queries=16, pool_heads=4, width=96, unimodal=2,
             multimodal=2, heads=4, embedding=64),
        False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Photos:
    """Pixels uint8 [n S S 3], and the captions of each."""

    pixels: np.ndarray
    texts: list[list[str]]


def photos(where: Path, size: int) -> Photos:
    """A part of the set, squashed to a square."""
    transform, pixels, texts = Transform(size), [], []
    for pair in open_set(where).pairs():
        pixels.append(transform.to_uint8(open_image(pair.image.read())))
        texts.append([text.text for text in pair.texts])
    return Photos(np.stack(pixels), texts)


def learn(
    model: Model, data: Photos, steps: int, lr: float, args: argparse.Namespace, reward: bool = False
) -> None:
    """`steps` steps with crops and mirrors; texts that say left or right are never mirrored."""
    table = TextTable.of(model.tokens, data.texts, model.config.length)
    loader = Loader(Held(data.pixels, model.pixels.mean, model.pixels.std, crop=0.6, flip=0.5), table)
    learner: Any = model.system
    if reward:
        learner = SelfCritical(learner, Cider.of(table, loader.rows, None), model.config.length)
    settings = Settings(
        lr=lr, min_lr=0.0, batch=args.batch, steps=steps, warmup=0.1, weight_decay=0.01, clip=5.0, precision="bf16",
        seed=args.seed, save_every=0, threads=args.threads, log_every=50,
    )  # fmt: skip
    fit(learner, loader, settings)


def start(tokens: Tokens, data: Photos, args: argparse.Namespace) -> Model:
    """The image tower that all begin with: BLIP's stem, by contrast alone."""
    config = {**SYSTEMS["BLIP"][1], "itm": 0, "lm": 0, "bag": True, "length": LENGTH, "image_size": args.size}
    model = build("blip", tokens, "tiny", [f"{key}={value}" for key, value in config.items()], args.seed)
    learn(model, data, args.start, 1.5e-3, args)
    return model


def writer(name: str, begun: Model, args: argparse.Namespace) -> tuple[Model, bool]:
    """A fresh one, and whether it begins with the tower."""
    system, config, _ = SYSTEMS[name]
    config = {**config, "length": LENGTH, "image_size": args.size}
    model = build(
        system, begun.tokens, "tiny", [f"{key}={value}" for key, value in config.items()], args.seed
    )
    tower = begun.system.towers.image
    if system == "blip":
        model.system.towers.image.load_state_dict(tower.state_dict())
    elif system.startswith("show"):
        model.system.encoder.network.load_state_dict(tower.embed.patch.state_dict())
    return model, system != "coca"


@torch.no_grad()
def scores(model: Model, held: Photos) -> dict[str, float]:
    """Every measure of beam-3 captions."""
    writing, said = Writing("beam", beams=3, max_length=LENGTH, min_length=3), []
    for at in range(0, len(held.pixels), 30):
        images = torch.from_numpy(model.pixels.normalise(held.pixels[at : at + 30]))
        said += [options[0].text for options in caption(model.system, model.tokens, images, writing)]
    report = evaluate(
        {str(row): text for row, text in enumerate(said)},
        {str(row): texts for row, texts in enumerate(held.texts)},
        with_java=False,
    )
    found = {name: report.scores[name].value for name in MEASURES}
    return found | {"different captions": report.describes["different captions"]}


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One seed: a row for each system."""
    data = {part: photos(args.set / part, args.size) for part in ("train", "test")}
    tokens = Tokens.train([text for group in data["train"].texts for text in group], 1000)
    began = time.process_time()
    begun = start(tokens, data["train"], args)
    spent, rows = time.process_time() - began, []
    for name in args.systems:
        model, from_contrast = writer(name, begun, args)
        began = time.process_time()
        learn(model, data["train"], args.steps, args.lr, args)
        if SYSTEMS[name][2]:
            learn(model, data["train"], args.steps // 4, 1e-4, args, reward=True)
        trained = time.process_time()
        found = scores(model, data["test"])
        parameters = sum(value.numel() for value in model.system.parameters())
        rows.append({
            "system": name, "seed": args.seed, **found, "from contrast": from_contrast, "parameters": parameters,
            "cpu_s": round(trained - began + spent * from_contrast), "writing_s": round(time.process_time() - trained),
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Means over the seeds, with standard deviations where there are several, and the published figures."""
    lines = ["| | " + " | ".join((*MEASURES, "CPU s")) + " |", "|---" * (len(MEASURES) + 2) + "|"]
    for name in names:
        mine = [row for row in rows if row["system"] == name]
        cells = []
        for measure in MEASURES:
            values = [row[measure] for row in mine]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        lines.append(
            f"| {name} | " + " | ".join([*cells, f"{np.mean([row['cpu_s'] for row in mine]):.0f}"]) + " |"
        )
    for name, values in PUBLISHED.items():
        lines.append(f"| {name}, published | " + " | ".join(f"{value:.3f}" for value in values) + " | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], choices=[*SYSTEMS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--start", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(args.first, args.first + args.seeds):
        args.seed = seed
        rows += run(args)
    print(table(rows, args.systems))


if __name__ == "__main__":
    main()
