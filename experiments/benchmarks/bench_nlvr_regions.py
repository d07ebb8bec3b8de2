"""NLVR v1 (people's statements about three drawn boxes) from its structured form: accuracy of a small UNITER, LXMERT or
ViLBERT whose regions are the items of the boxes.

    python experiments/benchmarks/bench_nlvr_regions.py --data ../shared/data --seeds 3
    python experiments/benchmarks/bench_nlvr_regions.py --system lxmert --seeds 3
    python experiments/benchmarks/bench_nlvr_regions.py --scratch --seeds 3            # people's statements alone

A region is a box or an item: one-hot kind, colour, size and box, its place, which walls it touches, its storey in a tower, and
whether an item lies on it or under it. Everything follows from the released shape, colour, size and place of the items.
1. "yellow squares touching the wall" -> how many in each box (none to four and more), of the drawn scenes of nlvr_scenes.py;
2. statements of its small grammar, each with a scene that makes it true and with one that makes it false;
3. people's statements of nlvr-train.tar, mixed with the grammar's: 1,000 with exact labels, 2,525 with inferred ones. Boxes change
   places, and colours change names in scene and statement; words are dropped. Of the exact ones HELD sentences are kept
   out, and the weights that judge those best are taken.
Measured on nlvr-dev.tar: accuracy over all pictures with a 95 % bootstrap interval over sentences, and consistency over
sentences. Published, with the full training set (from memory): majority 55.3, text only 56.6; from the structured form, with
hand-made features of counts and properties, MaxEnt 68.0 and MLP 67.5 (dev). Not like for like: here a tenth of the exact labels,
there no scenes. One line of JSON a seed. CPU seconds are this process's own.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from frozen import ends
from nlvr_scenes import Scene, example, phrase, stacked
from torch import Tensor, nn

from pairloom.data.asked import open_examples
from pairloom.data.batch import Batch, Texts
from pairloom.data.datasets.statements import plain
from pairloom.data.records import Regions
from pairloom.data.region_files import nlvr_boxes
from pairloom.data.tokens import Tokens
from pairloom.metrics.answers import consistency
from pairloom.metrics.compare import bootstrap
from pairloom.model import Model, build
from pairloom.systems import _fusion as fusion

SHAPES, COLOURS, SIDE = ("square", "triangle", "circle"), ("yellow", "black", "blue"), 100
ROWS = 3 + 24  # three boxes, and at most eight items in each
FEATURES = 26
MOST = 4  # counts from here on are one class
HELD = 60  # sentences with exact labels that people's statements are stopped by
EXACT = "final"  # the source of labels that were checked
UNSEEN = 300  # statements of the grammar to measure on
# layers of each system; in the two streams as many exchanges as the one stream has layers
LAYERS: dict[str, Callable[[int, int], dict[str, int]]] = {
    "uniter": lambda width, depth: dict(depth=depth),
    "lxmert": lambda width, depth: dict(depth=1, region_depth=1, cross_depth=depth, attributes=0),
    "vilbert": lambda width, depth: dict(
        depth=depth, exchanges=depth, visual_depth=depth, visual_width=width, visual_heads=4, shared_width=width, shared_heads=4
    ),
}  # fmt: skip


@dataclass
class Statements:
    """Statements with their truth and their scenes: items [n ROWS 6] as integers: kind (0: a box), colour, left, top, side, box; -1
    where there is none."""

    texts: list[str]
    true: Tensor
    items: Tensor

    def take(self, rows: Sequence[int]) -> Statements:
        chosen = torch.tensor(rows)
        return Statements([self.texts[row] for row in rows], self.true[chosen], self.items[chosen])


People = tuple[Statements, list[Any]]  # with the examples that they were read from


def table(boxes: Sequence[Sequence[tuple[str, str, int, int, int]]]) -> numpy.ndarray:
    """Items [ROWS 6] of three boxes of (shape, colour, left, top, side)."""
    rows = [(0, -1, 0, 0, SIDE, box) for box in range(3)]
    for box, items in enumerate(boxes):
        for shape, colour, left, top, side in items:
            rows.append((1 + SHAPES.index(shape), COLOURS.index(colour), left, top, side, box))
    filled = numpy.full((ROWS, 6), -1)
    filled[: len(rows)] = rows[:ROWS]
    return filled


def of_people(path: Path, first: bool) -> People:
    """Read NLVR's statements; first: of each strip only the first order of its boxes."""
    places, examples, tables = nlvr_boxes.index(path), [], []
    names = dict(zip(nlvr_boxes.COLOURS, COLOURS))
    for one in open_examples(path, "statements"):
        if first and not one.name.endswith("-0"):
            continue
        blob, boxes = places[Path(one.images[0].name or str(one.images[0].path)).stem]
        items = [map(nlvr_boxes._released, box) for box in boxes] if boxes else nlvr_boxes._read_off(blob)
        examples.append(one)
        tables.append(
            table([[(i.shape, names[i.colour], i.left, i.top, i.size) for i in box] for box in items])
        )
    true = torch.tensor([bool(one.true) for one in examples])
    return Statements(
        [plain(one.text) for one in examples], true, torch.from_numpy(numpy.stack(tables))
    ), examples


def of_grammar(seeds: Sequence[int]) -> tuple[Statements, list[Scene]]:
    """Statements of the grammar, each with a true and a false scene."""
    drawn = [example(seed) for seed in seeds]
    scenes = [scene for _, *both in drawn for scene in both]
    tables = [
        table([[(one.shape, one.colour, one.x, one.y, one.size) for one in box] for box in s]) for s in scenes
    ]
    texts = [text for text, *_ in drawn for _ in range(2)]
    return Statements(
        texts, torch.tensor([True, False] * len(drawn)), torch.from_numpy(numpy.stack(tables))
    ), scenes


def regions(items: Tensor) -> Regions:
    """Regions [n 1 ROWS ...] of items [n ROWS 6]."""
    kind, colour, left, top, side, box = items.unbind(-1)
    real, item = kind >= 0, kind > 0

    def one_hot(value: Tensor, count: int) -> Tensor:
        return (value[..., None] == torch.arange(count)).float()

    walls = torch.stack([left <= 0, top <= 0, left + side >= SIDE - 1, top + side >= SIDE - 1], -1)
    together = (box[:, :, None] == box[:, None]) & item[:, :, None] & item[:, None]
    across = (left[:, :, None] - left[:, None]).abs() < 10
    gap = top[:, None] - (top + side)[:, :, None]  # from the ground of one to the top of the other
    above = together & across & (gap >= -1) & (gap <= 3)  # [n upper lower]
    storey = one_hot(((SIDE - top - side) // 20).clamp(0, 4), 5) * item[..., None]
    place = torch.stack([left, top], -1) / SIDE
    features = torch.cat(
        [
            one_hot(kind, 4), one_hot(colour, 3), one_hot(box, 3), one_hot(side // 10, 4)[..., 1:], place,
            (walls & item[..., None]).float(), storey, above.any(1, keepdim=True).mT.float(), above.any(2)[..., None].float(),
        ], -1,
    )  # fmt: skip
    at = left + box * 150
    boxes = torch.stack([at / 400, top / SIDE, (at + side) / 400, (top + side) / SIDE], -1)
    shown = real[..., None].float()
    return Regions((features * shown)[:, None], (boxes * shown)[:, None], real[:, None])


def moved(items: Tensor, places: Tensor, colours: Tensor) -> Tensor:
    """Items whose box b has gone to places[n, b], and whose colour c is now colours[n, c]."""
    new, rows = items.clone(), torch.arange(len(items))[:, None]
    new[..., 1] = torch.where(items[..., 1] >= 0, colours[rows, items[..., 1].clamp(min=0)], items[..., 1])
    new[..., 5] = torch.where(items[..., 5] >= 0, places[rows, items[..., 5].clamp(min=0)], items[..., 5])
    return new


def recoloured(text: str, colours: Sequence[int]) -> str:
    """A text whose colours have changed names."""
    new = {name: COLOURS[colours[at]] for at, name in enumerate(COLOURS)}
    return re.sub(rf"\b({'|'.join(COLOURS)})\b", lambda match: new[match[0]], text)


class Course:
    """Training of one model, part by part. All randomness comes from the seed."""

    def __init__(self, model: Model, seed: int, drop: float) -> None:
        self.model, self.drop = model, drop
        torch.manual_seed(seed)
        self.draw = random.Random(seed)
        self.counts = nn.Linear(model.config.width, 3 * (MOST + 1))
        for part in model.system.modules():
            if isinstance(part, nn.Linear):  # BERT's .02 is that of 768 columns
                nn.init.normal_(part.weight, std=part.in_features**-0.5)

    def batch(self, texts: Sequence[str], items: Tensor) -> Batch:
        return Batch(
            texts=Texts(*self.model.tokens.encode(texts, self.model.config.length)), regions=regions(items)
        )

    def changed(self, statements: Statements, count: int) -> tuple[list[int], list[str], Tensor, Tensor]:
        """A random batch: rows, texts, and items in new places and colours; and which place each box has now."""
        rows = [self.draw.randrange(len(statements.texts)) for _ in range(count)]
        places = torch.rand(count, 3).argsort(1)
        colours = torch.rand(count, 3).argsort(1)
        texts = [recoloured(statements.texts[row], colours[at].tolist()) for at, row in enumerate(rows)]
        return rows, texts, moved(statements.items[torch.tensor(rows)], places, colours), places

    def judging(self, statements: Statements, count: int) -> Tensor:
        """Loss of classifying statements as true or false; some words are dropped."""
        rows, texts, items, _ = self.changed(statements, count)
        batch = self.batch(texts, items)
        texts_of = batch.required("texts")
        dropped = (torch.rand(texts_of.ids.shape) < self.drop) & (texts_of.ids > self.model.config.mask)
        ids = texts_of.ids.masked_fill(dropped, self.model.config.mask)
        logits = self.model.system.match_logits(Batch(texts=Texts(ids, texts_of.mask), regions=batch.regions))
        return F.cross_entropy(logits, statements.true[torch.tensor(rows)].long())

    def counting(self, statements: Statements, scenes: Sequence[Scene], count: int) -> Tensor:
        """Loss of counting the things of a phrase in each box."""
        rows = [self.draw.randrange(len(scenes)) for _ in range(count)]
        phrases = [phrase(self.draw, stacked(scenes[row])) for row in rows]
        truth = torch.tensor(
            [[min(MOST, many(box)) for box in scenes[row]] for (_, many), row in zip(phrases, rows)]
        )
        places = torch.rand(count, 3).argsort(1)
        items = moved(statements.items[torch.tensor(rows)], places, torch.arange(3).expand(count, 3))
        batch, system = self.batch([words for words, _ in phrases], items), self.model.system
        rows, _ = system.read_pairs(batch.required("texts"), fusion.regions_of(batch))
        logits = self.counts(rows[:, 0]).unflatten(1, (3, -1))
        return F.cross_entropy(logits.flatten(0, 1), truth.gather(1, places.argsort(1)).flatten())

    @torch.no_grad()
    def right(self, statements: Statements) -> numpy.ndarray:
        """Whether each verdict is right [n]."""
        system = self.model.system.eval()
        parts = [
            system.match(self.batch(statements.texts[at : at + 256], statements.items[at : at + 256])) > 0
            for at in range(0, len(statements.texts), 256)
        ]
        system.train()
        return (torch.cat(parts) == statements.true).numpy()


def descend(
    parts: Sequence[nn.Module], steps: int, lr: float, loss: Callable[[], Tensor], every: int = 0, look: Callable[[], None] = lambda: None
) -> float:  # fmt: skip
    """Train with AdamW and one cycle of the learning rate; call `look` every so many steps. Returns the mean loss of the last tenth."""
    learned = [one for part in parts for one in part.parameters()]
    optimiser = torch.optim.AdamW(learned, lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, max(20, steps), pct_start=0.1)
    losses = []
    for step in range(steps):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(value.detach()))
        if every and (step + 1) % every == 0:
            look()
    return float(numpy.mean(losses[-max(1, steps // 10) :])) if losses else float("nan")


def run(args: argparse.Namespace, seed: int, train: People, dev: People) -> dict[str, Any]:
    people, examples = train
    exact = [row for row, one in enumerate(examples) if one.meta.get("label_source") == EXACT]
    kept = set(random.Random(seed).sample(sorted({people.texts[row] for row in exact}), HELD))
    held = people.take([row for row in exact if people.texts[row] in kept])
    learn = people.take([row for row, text in enumerate(people.texts) if text not in kept])
    grammar, scenes = of_grammar(range(seed * 1_000_000, seed * 1_000_000 + args.scenes // 2))
    tokens = Tokens.train(learn.texts + grammar.texts, 600)
    sizes = dict(
        features=FEATURES,
        classes=0,
        pictures=1,
        width=args.width,
        heads=4,
        length=40,
        positions=48,
        **LAYERS[args.system](args.width, args.depth),
    )
    model = build(args.system, tokens, "tiny", [f"{key}={value}" for key, value in sizes.items()], seed)
    course, losses, share = Course(model, seed, args.drop), {}, args.batch // 3
    reader = [model.system.train(), course.counts]
    if not args.scratch:
        counting = lambda: course.counting(grammar, scenes, args.batch)  # noqa: E731
        losses["counting loss"] = descend(reader, args.count, args.lr, counting)
        both = lambda: course.judging(grammar, args.batch - share) + course.counting(grammar, scenes, share)  # noqa: E731
        losses["grammar and counting loss"] = descend(reader, args.pre, args.lr, both)
    losses |= measured(course, dev, seed, "before people ")
    best: list[tuple[float, dict[str, Tensor]]] = []

    def look() -> None:
        state = {name: value.clone() for name, value in model.system.state_dict().items()}
        best.append((float(course.right(held).mean()), state))
        best.sort(key=lambda one: -one[0])
        del best[1:]

    look()

    def mixed() -> Tensor:
        loss = course.judging(learn, args.batch - share)
        return loss if args.scratch else loss + course.judging(grammar, share)

    losses["loss"] = descend(reader, args.steps, args.lr / 2, mixed, 50, look)
    model.system.load_state_dict(best[0][1])
    return (
        measured(course, dev, seed)
        | losses
        | {"held-out sentences": best[0][0], "learnt": float(course.right(learn).mean())}
    )


def measured(course: Course, people: People, seed: int, when: str = "") -> dict[str, Any]:
    dev, examples = people
    unseen, _ = of_grammar(range(seed * 1_000_000 + 500_000, seed * 1_000_000 + 500_000 + UNSEEN))
    right, groups = course.right(dev), [one.group for one in examples]
    values = {
        "accuracy": float(right.mean()), "interval": ends(bootstrap(right, groups)),
        "consistency": consistency(right, groups), "always true": float(dev.true.float().mean()),
        "unseen of the grammar": float(course.right(unseen).mean()),
    }  # fmt: skip
    return {when + name: value for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--system", choices=list(LAYERS), default="uniter")
    for name, value in dict(
        count=500, pre=3000, steps=1500, scenes=16000, batch=64, width=64, depth=3
    ).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--drop", type=float, default=0.1)
    parser.add_argument("--scratch", action="store_true", help="people's statements alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, dev = (of_people(args.data / f"nlvr-{split}.tar", split == "train") for split in ("train", "dev"))
    for seed in range(args.first, args.first + args.seeds):
        began = time.process_time()
        row = run(args, seed, train, dev)
        spent = round(time.process_time() - began)
        print(
            json.dumps({"system": args.system, "seed": seed, "cpu_s": spent, "scratch": args.scratch, **row}),
            flush=True,
        )


if __name__ == "__main__":
    main()
