"""Captioning systems on UCM captions (1,680 / 210 / 210 aerial photos, 5 captions each), with features trained from scratch.

    python experiments/benchmarks/bench_writers.py ../shared/data/ucm --out results --seeds 3
    python experiments/benchmarks/bench_writers.py ../shared/data/ucm --out results --seeds 1 --systems "SAT soft" --part val

One residual image tower is trained by contrast with the captions of the training photos, which are rotated, mirrored and
cropped (`--start` steps of 128; a photo whose caption has left or right is neither rotated nor mirrored). It is then frozen
and encodes `--views` views of every photo once, and every writer of every seed is trained on these encodings for `--steps`
steps of 32 (Show and Tell for twice as many, at the same cost): the variation over seeds is that of the writers. CoCa and
BLIP read the same maps as the LSTMs, with positions of their own. Captions of the test photos: beam 3, against all five
references. Existing rows in `--out` are reused. CPU seconds are of the writer's training; the tower's are in its folder.
Published numbers (Lu et al., 2017, arXiv 1712.07835, from memory; VGG-16 features of ImageNet) are printed under the table.
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
from torch import Tensor, nn

import pairloom
from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.clean.views import AugmentedImages
from pairloom.data.cached import CachedImages
from pairloom.data.disk import atomic_write
from pairloom.data.loader import SIDES, TextTable, pair_loader
from pairloom.data.order import Plan, Rows
from pairloom.data.pair import seed_of
from pairloom.data.pixels import open_image
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.metrics.captions import evaluate
from pairloom.metrics.compare import difference
from pairloom.model import Model, build
from pairloom.tasks.caption import caption
from pairloom.tasks.decode import Writing
from pairloom.train.loop import fit
from pairloom.train.reward import Cider, SelfCritical
from pairloom.train.settings import Settings

MEASURES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D")
PUBLISHED = {
    "soft attention": (0.7454, 0.6545, 0.5855, 0.5250, 0.7237, 2.612),
    "hard attention": (0.8157, 0.7312, 0.6702, 0.6182, 0.7698, 2.995),
}
LENGTH, PATCH, WIDTH = 32, 8, 128
STEM = dict(patch=PATCH, image_width=WIDTH, length=LENGTH)
TOWER = dict(
    STEM, stem="residual", image_depth=0, width=WIDTH, depth=2, heads=4, embedding=WIDTH, queue=0, momentum=0,
    positions=40, label_smoothing=0.0, itm=0,
)  # fmt: skip
LSTM = dict(STEM, encoder="residual", tune=False, width=256)
# name -> (system, its settings, whether a reward follows)
SYSTEMS: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    "Show and Tell": ("show_and_tell", LSTM, False),
    "SAT soft": ("show_attend_tell", dict(LSTM, word=128, layers=1), False),
    "SAT hard": ("show_attend_tell", dict(LSTM, word=128, layers=1, mode="hard"), False),
    "SAT soft, no penalty": ("show_attend_tell", dict(LSTM, word=128, layers=1, penalty=0), False),
    "BLIP": ("blip", dict(TOWER, itc=0), False),
    "CoCa": (
        "coca",
        dict(STEM, image_depth=0, image_heads=4, queries=16, pool_heads=4, width=WIDTH, unimodal=1, multimodal=1, heads=4,
             embedding=64),
        False,
    ),
    "SAT soft, then CIDEr": ("show_attend_tell", dict(LSTM, word=128, layers=1), True),
}  # fmt: skip
MORE = {"Show and Tell": 2}  # times --steps, since its step costs half of a step with attention
CONTRASTS = (
    ("SAT soft", "Show and Tell"),
    ("SAT soft, no penalty", "Show and Tell"),
    ("SAT hard", "Show and Tell"),
    ("SAT hard", "SAT soft"),
)


@dataclass(frozen=True)
class Photos:
    """Pixels uint8 [n S S 3], and the captions of each."""

    pixels: np.ndarray
    texts: list[list[str]]

    def turned(self) -> Photos:
        """Each photo in four rotations, since aerial photos have no upright. Photos with left or right in their captions are not
        rotated."""
        turns = [self.pixels, *(np.rot90(self.pixels, turn, (1, 2)).copy() for turn in (1, 2, 3))]
        for pixels in turns[1:]:
            pixels[self.sided] = self.pixels[self.sided]
        return Photos(np.concatenate(turns), self.texts * 4)

    @property
    def sided(self) -> np.ndarray:
        """Whether a caption has left or right [n]."""
        return np.array([any(SIDES.search(text) for text in texts) for texts in self.texts])

    @property
    def ids(self) -> Rows:
        """Ids of the photos [n], equal for equal captions, so that these are no negatives of each other."""
        same: dict[tuple[str, ...], int] = {}
        return np.array([same.setdefault(tuple(texts), len(same)) for texts in self.texts])


def photos(where: Path, size: int) -> Photos:
    """Read a part of the set, resized to squares."""
    transform, pixels, texts = Transform(size), [], []
    for pair in open_set(where).pairs():
        pixels.append(transform.to_uint8(open_image(pair.image.read())))
        texts.append([text.text for text in pair.texts])
    return Photos(np.stack(pixels), texts)


def words(config: Mapping[str, Any], size: int) -> list[str]:
    """Settings in the form of the command line, key=value."""
    return [f"{key}={value}" for key, value in {**config, "image_size": size}.items()]


def settings(steps: int, lr: float, **own: Any) -> Settings:
    """Training settings that the tower and the writers share."""
    plain = dict(
        min_lr=0.0, warmup=0.1, weight_decay=0.05, betas=(0.9, 0.98), ema=0.99, save_every=0, threads=1
    )
    return Settings(lr=lr, steps=steps, log_every=50, **{**plain, **own})  # type: ignore[arg-type]


def tower(tokens: Tokens, data: Photos, args: argparse.Namespace) -> Model:
    """The image tower, trained by contrast; loaded from its folder where it exists."""
    kept = args.out / "tower"
    if not (kept / "seconds.json").exists():
        began, data = time.process_time(), data.turned()
        model = build("blip", tokens, "tiny", words({**TOWER, "lm": 0, "bag": True}, args.size))
        pictures = AugmentedImages(data.pixels, model.pixels.mean, model.pixels.std)
        loader = pair_loader(
            pictures, TextTable.of(model.tokens, data.texts, LENGTH), None, data.ids, window=0
        )
        fit(model.system, loader, settings(args.start, 2e-3, batch=128, precision="bf16"))
        few = Plan(128)
        looks = (model.system.encode_image(parts[0]) for _, parts in zip(range(12), loader.read(few, 0)))
        recalibrate_batch_norm(model.system, looks)
        pairloom.save(model, kept)
        (kept / "seconds.json").write_text(json.dumps(time.process_time() - began))
    return pairloom.load(kept)


def stem(begun: Model) -> nn.Module:
    """The frozen encoder of all writers: pictures [B 3 S S] -> cells [B C S/8 S/8]."""
    network: nn.Module = begun.system.eval().towers.image.embed.patch
    return network


def tower_cells(begun: Model, data: Photos, args: argparse.Namespace) -> CachedImages:
    """Cached encodings of the training photos: the first view is the photo itself, the others are rotated and cropped."""
    turned, count, sided = data.turned(), len(data.texts), torch.from_numpy(data.sided)
    pictures = AugmentedImages(turned.pixels, begun.pixels.mean, begun.pixels.std, crop=0.6)

    def encode_image(rows: Rows, view: int) -> Tensor:
        if not view:
            return cells(begun, data.pixels[rows])
        chance = torch.rand(
            len(rows),
            4,
            generator=torch.Generator().manual_seed(seed_of("view", 0, view, int(rows[0]))),
        )
        seen: Tensor = stem(begun)(pictures.look(rows + view % 4 * count, chance, sided[rows])[0])
        return seen

    return CachedImages.by(encode_image, np.arange(count), count, args.views)


@torch.no_grad()
def cells(begun: Model, pixels: np.ndarray) -> Tensor:
    """Encodings of photos without augmentation."""
    seen: Tensor = stem(begun)(torch.from_numpy(begun.pixels.normalise(pixels)))
    return seen


def writer(name: str, begun: Model, args: argparse.Namespace) -> Model:
    """A new writer that reads encodings in the place of pictures."""
    system, config, _ = SYSTEMS[name]
    side = args.size // PATCH
    config = {**config, "grid": side} if system == "show_attend_tell" else config
    if system.startswith("show"):
        config = {**config, "dropout": args.dropout}
    model = build(system, begun.tokens, "tiny", words(config, args.size), args.seed)
    if system.startswith("show"):
        model.system.encoder = nn.Identity()
        return model
    embed = (model.system.towers.image if system == "blip" else model.system.image).embed
    embed.patch, embed.image_size = nn.Identity(), side
    return model


def learn(name: str, model: Model, seen: CachedImages, data: Photos, args: argparse.Namespace) -> None:
    """Train a writer for `--steps` steps on the tower's encodings, and with a reward for a sixth as many further steps."""
    table, steps = TextTable.of(model.tokens, data.texts, LENGTH), MORE.get(name, 1) * args.steps
    fit(
        model.system,
        pair_loader(seen, table, None, data.ids),
        settings(steps, args.lr, batch=32, seed=args.seed),
    )
    if SYSTEMS[name][2]:
        loader = pair_loader(seen, table)
        learner = SelfCritical(model.system, Cider.of(table, loader.rows, None), LENGTH)
        fit(learner, loader, settings(max(1, args.steps // 6), 1e-4, batch=32, seed=args.seed))


@torch.no_grad()
def scores(model: Model, seen: Tensor, held: Photos) -> dict[str, Any]:
    """All metrics of beam-3 captions, the captions, and the CIDEr-D of each."""
    writing, captions = Writing("beam", beams=3, max_length=LENGTH, min_length=3), []
    for part in seen.split(70):
        captions += [options[0].text for options in caption(model, part, writing)]
    report = evaluate(
        {str(row): text for row, text in enumerate(captions)},
        {str(row): texts for row, texts in enumerate(held.texts)},
        with_java=False,
    )
    measures: dict[str, Any] = {name: report.scores[name].value for name in MEASURES}
    each = report.scores["CIDEr-D"].each
    return {
        **measures,
        "different captions": report.describes["different captions"],
        "said": captions,
        "each": list(each),
    }


def run(data: Mapping[str, Photos], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for all seeds and systems; existing ones in the folder are reused."""
    jobs = {
        (seed, name): args.out / f"{args.part}-{seed}-{name.replace(' ', '-')}.json"
        for seed in range(args.first, args.first + args.seeds)
        for name in args.systems
    }
    todo = [job for job, file in jobs.items() if not file.exists()]
    if todo:
        tokens = Tokens.train([text for group in data["train"].texts for text in group], 1000)
        begun = tower(tokens, data["train"], args)
        seen, held = tower_cells(begun, data["train"], args), cells(begun, data["held"].pixels)
    for args.seed, name in todo:
        began, model = time.process_time(), writer(name, begun, args)
        learn(name, model, seen, data["train"], args)
        trained = time.process_time()
        row = {"system": name, "seed": args.seed, **scores(model, held, data["held"])}
        row["parameters"] = sum(value.numel() for value in model.system.parameters())
        row |= {"cpu_s": trained - began, "writing_s": time.process_time() - trained}
        with atomic_write(jobs[args.seed, name]) as file:
            file.write(json.dumps(row).encode())
        print(
            json.dumps({key: value for key, value in row.items() if key not in ("said", "each")}), flush=True
        )
    return [json.loads(file.read_text()) for file in jobs.values()]


def table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Table of the means over the seeds, with standard deviations for several seeds, the published numbers, and contrasts."""
    lines = ["| | " + " | ".join((*MEASURES, "CPU s")) + " |", "|---" * (len(MEASURES) + 2) + "|"]
    for name in names:
        mine = [row for row in rows if row["system"] == name]
        cells = []
        for measure in MEASURES:
            values = [row[measure] for row in mine]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        cells.append(f"{np.mean([row['cpu_s'] for row in mine]):.0f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, values in PUBLISHED.items():
        lines.append(f"| {name}, published | " + " | ".join(f"{value:.3f}" for value in values) + " | |")
    for new, old in CONTRASTS:
        if {new, old} <= set(names):
            one, two = (
                np.array([row["each"] for row in rows if row["system"] == name]) for name in (new, old)
            )
            lines.append(f"{new} - {old}, CIDEr-D: {difference(one, two)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="test", choices=["val", "test"])
    parser.add_argument("--systems", nargs="+", default=[*SYSTEMS], choices=[*SYSTEMS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--start", type=int, default=500)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = {"train": photos(args.set / "train", args.size), "held": photos(args.set / args.part, args.size)}
    print(table(run(data, args), args.systems))


if __name__ == "__main__":
    main()
