"""NLVR v1 (people's statements about three drawn boxes): accuracy of a small blip_nlvr that is trained on a CPU.

    python experiments/benchmarks/bench_nlvr.py --data ../shared/data --seeds 3
    python experiments/benchmarks/bench_nlvr.py --scratch --seeds 3            # without pre-training

An example has three pictures (the boxes of a strip), in a random order each time. Pre-training uses the drawn scenes of
nlvr_scenes.py:
1. the image tower learns to name the things in each cell of a box; it is then frozen, and its encodings are cached;
2. the text encoder learns to count: "yellow squares touching the wall" -> how many in each box (none to four and more);
3. it learns statements of a small grammar, each with a scene that makes it true and with one that makes it false;
4. then people's statements of nlvr-train.tar, mixed with some of the grammar's: 1,000 with exact labels, 2,525 with inferred
   ones.
Measured on nlvr-dev.tar: accuracy over all pictures with a 95 % bootstrap interval over sentences, and consistency over
sentences; beside them the accuracy of always answering "true", and that on held-out statements of the grammar (chance: 50 %).
Published, with the full training set and no pre-training (from memory, shared data's README): majority 55.3, text only 56.6,
CNN+RNN 56.6, NMN 63.1, CNN-BiATT 66.9, CMM 68.0 (dev). Not like for like: here a tenth of the exact labels, there no scenes.
One line of JSON a seed. CPU seconds are this process's own.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from frozen import PATCH, encoded_pictures, ends, shape
from nlvr_scenes import Scene, cells, example, phrase, picture, stacked
from torch import Tensor, nn

from pairloom.blocks.text import begin_with
from pairloom.data.asked import open_examples
from pairloom.data.batch import Batch, Texts
from pairloom.data.datasets.statements import plain
from pairloom.data.pixels import open_image
from pairloom.data.tokens import Tokens
from pairloom.metrics.answers import consistency
from pairloom.metrics.compare import bootstrap
from pairloom.model import Model, build

STRIP = (0, 150, 300)  # where the three boxes of a strip begin; each is 100 px wide
MOST = 4  # counts from here on are one class
UNSEEN = 250  # statements of the grammar to measure on


class Statements:
    """Statements with their truth and their boxes: pixels [n 3 X Y 3], and their encodings after `look`."""

    def __init__(self, texts: Sequence[str], true: Sequence[bool], pixels: numpy.ndarray) -> None:
        self.texts, self.true, self.pixels = list(texts), torch.tensor([bool(one) for one in true]), pixels
        self.encoded = torch.zeros(0)

    def look(self, model: Model) -> None:
        """Cache the encodings [n 3 S C] of the frozen image tower."""
        flat = self.pixels.reshape(-1, *self.pixels.shape[2:])
        self.encoded = encoded_pictures(model, model.system.image, flat).encoded[:, 0].unflatten(0, (-1, 3))


def of_people(path: Path, size: int, first: bool) -> tuple[Statements, list[Any]]:
    """Read NLVR's statements; first: of each strip only the first order of its boxes."""
    statements, pixels = [], []
    for one in open_examples(path, "statements"):
        if first and not one.name.endswith("-0"):
            continue
        strip = open_image(one.images[0].read())
        statements.append(one)
        pixels.append([numpy.asarray(strip.crop((x, 0, x + 100, 100)).resize((size, size))) for x in STRIP])
    return Statements(
        [plain(one.text) for one in statements], [one.true for one in statements], numpy.array(pixels)
    ), statements


def of_grammar(seeds: Sequence[int], size: int) -> tuple[Statements, list[Scene]]:
    """Statements of the grammar, each with a true and a false scene."""
    examples = [example(seed) for seed in seeds]
    scenes = [scene for _, *both in examples for scene in both]
    pixels = numpy.array([[picture(box, size) for box in scene] for scene in scenes])
    return Statements(
        [text for text, *_ in examples for _ in range(2)], [True, False] * len(examples), pixels
    ), scenes


def descend(parts: Sequence[nn.Module], steps: int, lr: float, loss: Callable[[], Tensor]) -> float:
    """Train with AdamW and one cycle of the learning rate. Returns the mean loss of the last tenth."""
    learned = [one for part in parts for one in part.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, max(20, steps), pct_start=0.1)
    losses = []
    for _ in range(steps):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(value.detach()))
    return float(numpy.mean(losses[-max(1, steps // 10) :])) if losses else float("nan")


class Course:
    """Training of one model, part by part. All randomness comes from the seed."""

    def __init__(self, model: Model, seed: int, batch: int) -> None:
        self.model, self.batch = model, batch
        torch.manual_seed(seed)
        self.draw = random.Random(seed)
        self.counts = nn.Linear(model.config.width, 3 * (MOST + 1))

    def first(self, seen: Tensor, texts: Sequence[str]) -> Tensor:
        """The [ENC] row of texts with their boxes."""
        tower = self.model.system.text
        ids, mask = self.model.tokens.encode(texts, self.model.config.length)
        memory = tower.stack.project(seen.flatten(1, 2))
        row: Tensor = tower(begin_with(self.model.config.enc, ids), mask, memory)[:, 0]
        return row

    def some(self, statements: Statements, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch: rows [count], a random order of the boxes for each [count 3], and the encodings in that order."""
        rows = torch.randint(len(statements.texts), (count,))
        order = torch.rand(count, 3).argsort(1)
        return rows, order, statements.encoded[rows[:, None], order] if len(statements.encoded) else rows

    def naming(self, statements: Statements, scenes: Sequence[Scene]) -> Callable[[], Tensor]:
        """Loss of naming the things in each cell of a box; its last layer is used for this alone."""
        truth = torch.from_numpy(
            numpy.array([cells(box, self.model.config.image_size // PATCH) for one in scenes for box in one])
        )
        flat, tower = (
            statements.pixels.reshape(-1, *statements.pixels.shape[2:]),
            self.model.system.image.train(),
        )
        self.names = nn.Linear(self.model.config.image_width, truth.shape[-1])
        nn.init.constant_(self.names.bias, -3.0)

        def loss() -> Tensor:
            rows = torch.randint(len(flat), (96,))
            images = torch.from_numpy(self.model.pixels.normalise(flat[rows.numpy()]))
            return F.binary_cross_entropy_with_logits(self.names(tower(images)[:, 1:]), truth[rows])

        return loss

    def counting(self, statements: Statements, scenes: Sequence[Scene], count: int) -> Tensor:
        """Loss of counting the things of a phrase in each box."""
        rows, order, seen = self.some(statements, count)
        phrases = [phrase(self.draw, stacked(scenes[row])) for row in rows.tolist()]
        truth = [
            [min(MOST, many(box)) for box in scenes[row]] for (_, many), row in zip(phrases, rows.tolist())
        ]
        logits = self.counts(self.first(seen, [words for words, _ in phrases])).unflatten(1, (3, -1))
        return F.cross_entropy(logits.flatten(0, 1), torch.tensor(truth).gather(1, order).flatten())

    def judging(self, statements: Statements, count: int) -> Tensor:
        """Loss of classifying statements as true or false."""
        rows, _, seen = self.some(statements, count)
        logits = self.model.system.head(self.first(seen, [statements.texts[row] for row in rows.tolist()]))
        return F.cross_entropy(logits, statements.true[rows].long())

    @torch.no_grad()
    def right(self, statements: Statements) -> numpy.ndarray:
        """Whether each verdict is right [n]."""
        verdicts, system = [], self.model.system.eval()
        for at in range(0, len(statements.texts), 128):
            ids, mask = self.model.tokens.encode(statements.texts[at : at + 128], self.model.config.length)
            verdicts.append(
                system.match(Batch(encoded=statements.encoded[at : at + 128], texts=Texts(ids, mask))) > 0
            )
        return (torch.cat(verdicts) == statements.true).numpy()


def run(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    people, _ = of_people(args.data / "nlvr-train.tar", args.size, first=True)
    grammar, scenes = of_grammar(range(seed * 1_000_000, seed * 1_000_000 + args.scenes // 2), args.size)
    tokens = Tokens.train(people.texts + grammar.texts, 800)
    words = [*shape(args.size, args.width, 3), "pictures=3", "merge_from=1", "dropout=0"]
    model = build("blip_nlvr", tokens, "tiny", words, seed)
    course, system, losses = Course(model, seed, args.batch), model.system, {}
    reader, share = [system.text, system.head, course.counts], args.batch // 3
    if args.scratch:
        losses["loss"] = scratch(course, people, args)
        people.look(model)
    else:
        naming = course.naming(grammar, scenes)
        losses["naming loss"] = descend([system.image, course.names], args.see, 3e-3, naming)
        for statements in (grammar, people):
            statements.look(model)
        system.text.train()
        counting = lambda: course.counting(grammar, scenes, args.batch)  # noqa: E731
        losses["counting loss"] = descend(reader, args.count, 3e-3, counting)
        both = lambda: course.judging(grammar, args.batch - share) + course.counting(grammar, scenes, share)  # noqa: E731
        losses["grammar and counting loss"] = descend(reader, args.pre, args.lr, both)
        mixed = lambda: course.judging(people, args.batch - share) + 0.3 * course.judging(grammar, share)  # noqa: E731
        losses["loss"] = descend(reader, args.steps, args.lr / 3, mixed)
    return measured(args, course, people, seed) | losses


def scratch(course: Course, people: Statements, args: argparse.Namespace) -> float:
    """Train the whole model on people's statements alone, for as many steps as the pre-trained one has in total."""
    system = course.model.system.train()

    def loss() -> Tensor:
        rows, order, _ = course.some(people, 64)
        pixels = people.pixels[rows[:, None].numpy(), order.numpy()]
        batch = Batch(images=torch.from_numpy(course.model.pixels.normalise(pixels)))
        logits = system.head(
            course.first(system.encode_image(batch).encoded, [people.texts[row] for row in rows.tolist()])
        )
        return F.cross_entropy(logits, people.true[rows].long())

    return descend([system], args.steps, 1e-3, loss)


def measured(args: argparse.Namespace, course: Course, people: Statements, seed: int) -> dict[str, Any]:
    dev, examples = of_people(args.data / "nlvr-dev.tar", args.size, first=False)
    unseen, _ = of_grammar(range(seed * 1_000_000 + 500_000, seed * 1_000_000 + 500_000 + UNSEEN), args.size)
    for one in (dev, unseen):
        one.look(course.model)
    right, groups = course.right(dev), [one.group for one in examples]
    return {
        "accuracy": float(right.mean()), "interval": ends(bootstrap(right, groups)),
        "consistency": consistency(right, groups), "always true": float(dev.true.float().mean()),
        "unseen of the grammar": float(course.right(unseen).mean()), "learnt": float(course.right(people).mean()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    for name, value in dict(
        see=250, count=300, pre=600, steps=200, scenes=5000, batch=128, size=48, width=64
    ).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--scratch", action="store_true", help="people's statements alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(args.first, args.first + args.seeds):
        began = time.process_time()
        row = run(args, seed)
        spent = round(time.process_time() - began)
        print(json.dumps({"seed": seed, "cpu_s": spent, "scratch": args.scratch, **row}), flush=True)


if __name__ == "__main__":
    main()
