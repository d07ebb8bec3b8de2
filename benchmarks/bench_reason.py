"""How much small models learn to reason and to answer from scratch, on a CPU: no pre-training, no weights.

    python benchmarks/bench_reason.py nlvr --data ../shared/data --seeds 3        # NLVR v1: human statements, drawn boxes
    python benchmarks/bench_reason.py statements --seeds 3                        # drawn world: two pictures, a statement
    python benchmarks/bench_reason.py questions --seeds 3                         # drawn world: a picture, a question

nlvr: blip_nlvr with three pictures (the boxes of a strip), trained on nlvr-train.tar (1,000 statements with exact labels and
2,525 whose label was inferred; each in one of the six orders of its boxes, drawn anew each time), measured on
nlvr-dev.tar: accuracy over all pictures, consistency over sentences, 95 % bootstrap interval over sentences. Beside it:
what saying "true" always gives. Published, with the full training set (from memory, shared data's README): majority 55.3,
text only 56.6, CNN+RNN 56.6, NMN 63.1, CNN-BiATT 66.9, CMM 68.0 (dev).
statements, questions: worlds of different seeds for training and measuring; beside it the best that can be done without
looking: the commoner truth of each sort of statement, the commonest answer of each sort of question.
One line of JSON a seed. CPU seconds are this process's own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from pairloom import folder
from pairloom.data.asked import open_examples
from pairloom.data.lessons.statements import Labels, plain
from pairloom.data.loader import Held, Loader, TextTable
from pairloom.data.pixels import open_image
from pairloom.data.tokens import Tokens
from pairloom.data.world import World
from pairloom.data.world.asked import write_examples
from pairloom.metrics.answers import consistency
from pairloom.model import Model, build
from pairloom.tasks.answer import Choices, choose, questions_batch
from pairloom.tasks.reason import reason
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

BOXES = (0, 150, 300)  # where the three boxes of a strip begin; each is 100 px wide
SIZES = "patch=8 image_width=64 image_depth=1 image_heads=4 width=64 depth=3 heads=4 positions=64 dropout=0.1".split()


def boxes(path: Path, size: int) -> tuple[list[Any], numpy.ndarray]:
    """Statements of NLVR, and their boxes [M 3 size size 3]; one order of each, and all labels alike."""
    told, pixels = [], []
    for one in open_examples(path, "statements"):
        strip = open_image(one.images[0].read())
        told.append(one)
        pixels.append([numpy.asarray(strip.crop((x, 0, x + 100, 100)).resize((size, size))) for x in BOXES])
    return told, numpy.array(pixels, dtype=numpy.uint8)


def settings_of(args: argparse.Namespace, seed: int) -> Settings:
    return Settings(
        lr=args.lr,
        min_lr=1e-5,
        batch=64,
        steps=args.steps,
        warmup=0.05,
        weight_decay=0.05,
        clip=1.0,
        seed=seed,
        threads=1,
    )


def nlvr(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    told, pixels = boxes(args.data / "nlvr-train.tar", args.size)
    first = [row for row, one in enumerate(told) if one.name.endswith("-0")]
    told, pixels = [told[row] for row in first], pixels[first]
    tokens = Tokens.train([plain(one.text) for one in told], 600)
    preset = [*SIZES, "pictures=3", "merge_from=1", f"image_size={args.size}", "length=40", "stem=conv"]
    model = build("blip_nlvr", tokens, "tiny", preset, seed)
    orders = numpy.array(list(itertools.permutations(range(3))))
    shows = (3 * numpy.arange(len(told))[:, None, None] + orders).reshape(-1, 3)
    texts = TextTable.of(tokens, ([plain(one.text)] * len(orders) for one in told), model.config.length)
    says = Labels(texts, [bool(one.true) for one in told])
    held = Held(pixels.reshape(-1, *pixels.shape[2:]), model.pixels.mean, model.pixels.std, flip=0.5)
    fitted = fit(model.system, Loader(held, texts, shows=shows, says=says), settings_of(args, seed))
    asked, pixels = boxes(args.data / "nlvr-dev.tar", args.size)
    right = (chances(model, pixels, [one.text for one in asked]) > 0.5) == [one.true for one in asked]
    groups = [one.group for one in asked]
    return {
        "accuracy": float(right.mean()), "interval": interval(right, groups), "consistency": consistency(right, groups),
        "always true": float(numpy.mean([one.true for one in asked])), "train loss": fitted.lines[-1]["loss"],
    }  # fmt: skip


def chances(model: Model, pixels: numpy.ndarray, texts: Sequence[str], rows: int = 128) -> numpy.ndarray:
    found = []
    for start in range(0, len(texts), rows):
        images = torch.from_numpy(model.pixels.normalise(pixels[start : start + rows]))
        found.append(reason(model.system, model.tokens, images, texts[start : start + rows]).numpy())
    return numpy.concatenate(found)


def interval(right: numpy.ndarray, groups: Sequence[str], draws: int = 2000) -> list[float]:
    """95 % of bootstrap means, whole groups drawn."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one, group in zip(right, groups):
        sums[group][0] += float(one)
        sums[group][1] += 1
    table = numpy.array(list(sums.values()))
    picked = numpy.random.default_rng(0).integers(0, len(table), (draws, len(table)))
    means = table[picked].sum(1)
    return [round(float(end), 4) for end in numpy.percentile(means[:, 0] / means[:, 1], [2.5, 97.5])]


def drawn(args: argparse.Namespace, seed: int, kind: str, work: Path) -> tuple[Any, list[Any], Model, float]:
    """Lesson and measuring set of a kind, and a model trained on the first."""
    for name, count, world in (("learn", args.scenes, 2 * seed), ("asked", args.scenes // 10, 2 * seed + 1)):
        write_examples(World(count, seed=world, level="simple", size=args.size), work / name, kind)
    lesson = folder.find("data.lessons", kind).Lesson(work / "learn", work)
    tokens = Tokens.train([word for group in lesson.words() for word in group], 600)
    system = {"questions": "blip_vqa", "statements": "blip_nlvr"}[kind]
    extra = ["answer_length=8"] if kind == "questions" else ["merge_from=1"]
    model = build(
        system, tokens, "tiny", [*SIZES, *extra, f"image_size={args.size}", "length=40", "stem=conv"], seed
    )
    loader = lesson.loader(tokens, model.config, model.pixels, numpy.arange(lesson.count), True, 0)
    fitted = fit(model.system, loader, settings_of(args, seed))
    return lesson, list(open_examples(work / "asked", kind)), model, fitted.lines[-1]["loss"]


def pictures_of(model: Model, examples: Sequence[Any]) -> numpy.ndarray:
    return numpy.array(
        [[model.pixels.to_uint8(open_image(blob.read())) for blob in one.images] for one in examples]
    )


def statements(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        lesson, asked, model, loss = drawn(args, seed, "statements", Path(work))
        found = chances(model, pictures_of(model, asked), [one.text for one in asked])
        sorts = sorts_of(Path(work) / "asked" / "statements.jsonl")
    right = (found > 0.5) == [one.true for one in asked]
    return summary(right, sorts, [str(one.true) for one in asked]) | {
        "train loss": loss,
        "learned from": lesson.count,
    }


def questions(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        lesson, asked, model, loss = drawn(args, seed, "questions", Path(work))
        choices = Choices(model.tokens, [answer for one in lesson.asked for answer in one.answers], 8)
        said = []
        for start in range(0, len(asked), 64):
            part = asked[start : start + 64]
            images = torch.from_numpy(model.pixels.normalise(pictures_of(model, part)[:, 0]))
            batch = questions_batch(images, [one.question for one in part], model.tokens, model.config)
            said += [found[0].text for found in choose(model.system, batch, choices)]
        sorts = sorts_of(Path(work) / "asked" / "questions.jsonl")
    truth = [one.answers[0] for one in asked]
    right = numpy.array([one == true for one, true in zip(said, truth)])
    return summary(right, sorts, truth) | {"train loss": loss, "learned from": lesson.count}


def sorts_of(file: Path) -> list[str]:
    return [json.loads(line)["sort"] for line in file.read_text("utf-8").splitlines()]


def summary(right: numpy.ndarray, sorts: Sequence[str], truth: Sequence[str]) -> dict[str, Any]:
    """Accuracy in all and by sort; blind: the commonest truth of each sort, said always."""
    by_sort: dict[str, list[int]] = defaultdict(list)
    for row, sort in enumerate(sorts):
        by_sort[sort].append(row)
    blind = sum(Counter(truth[row] for row in rows).most_common(1)[0][1] for rows in by_sort.values())
    error = 1.96 * float(numpy.sqrt(right.mean() * (1 - right.mean()) / len(right)))
    return {
        "asked": len(right), "accuracy": float(right.mean()), "interval": [right.mean() - error, right.mean() + error],
        "blind": blind / len(right), "by sort": {sort: round(float(right[rows].mean()), 3) for sort, rows in sorted(by_sort.items())},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("nlvr", "statements", "questions"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--scenes", type=int, default=3000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = {"nlvr": nlvr, "statements": statements, "questions": questions}[args.what]
    for seed in range(args.first, args.first + args.seeds):
        used = time.process_time()
        told = run(args, seed)
        print(
            json.dumps({"what": args.what, "seed": seed, "cpu_s": round(time.process_time() - used), **told}),
            flush=True,
        )


if __name__ == "__main__":
    main()
