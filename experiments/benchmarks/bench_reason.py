"""Question answering and reasoning about drawn scenes: accuracy of small models that are trained on a CPU, first on captions,
as in the paper.

    python experiments/benchmarks/bench_reason.py questions statements --seeds 3     # blip_vqa, a picture; blip_nlvr, two pictures
    python experiments/benchmarks/bench_reason.py questions --scratch                # without the captions

A blip is trained on the captions of drawn pictures, by contrast first and then to write on cached encodings of its frozen
image tower; blip_vqa or blip_nlvr starts with its weights (their STARTS) and is trained on cached encodings too. Training and
test worlds have different seeds. Beside each accuracy is the best one without pictures: the more frequent truth of each sort
of statement, the most frequent answer of each sort of question. The output is a line of JSON for each seed and kind. CPU
seconds are of this process, for the captions and the task apart.
NLVR with people's statements: bench_nlvr.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from frozen import Rememberer, encoded_pictures, ends, learn, shape
from torch import Tensor

from pairloom import registry
from pairloom.blocks.convnet import recalibrate_batch_norm
from pairloom.blocks.tensors import put_shared, put_tensors, tensors_of
from pairloom.data.asked import open_examples
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.order import Plan
from pairloom.data.pixels import open_image
from pairloom.data.tokens import Tokens
from pairloom.metrics.compare import wilson
from pairloom.model import Model, build
from pairloom.tasks.answer import Choices, choose, questions_batch
from pairloom.tasks.reason import reason
from pairloom.world import World
from pairloom.world.asked import write_examples
from pairloom.world.draw import picture

ASKED = 300  # pictures to measure on
DROPOUT = ["dropout=0.1"]


def captioner(world: World, tokens: Tokens, args: argparse.Namespace, seed: int) -> Model:
    """Train a blip on the captions of a world: contrast, then writing on cached encodings."""
    pixels = numpy.array([numpy.asarray(picture(world.scene(row), world.size)) for row in range(world.count)])
    texts = [[world.row(row).text] for row in range(world.count)]
    table = TextTable.of(tokens, texts, 40)
    words = [
        *shape(args.size, args.width, args.depth),
        *DROPOUT,
        "embedding=128",
        "queue=0",
        "momentum=0",
        "bag=true",
    ]
    model = build("blip", tokens, "tiny", [*words, "itm=0", "lm=0"], seed)
    loader = pair_loader(InMemoryImages(pixels, model.pixels.mean, model.pixels.std, crop=0.6), table)
    learn(model.system, loader, args.see, 2e-3, seed, batch=128, precision="bf16")
    recalibrate_batch_norm(
        model.system, (model.system.encode_image(parts[0]) for parts in loader.read(Plan(128, seed), 0))
    )
    writer = build("blip", tokens, "tiny", [*words, "itc=0", "itm=0"], seed)
    put_tensors(writer.system, tensors_of(model.system))
    seen = encoded_pictures(writer, writer.system.towers.image, pixels)
    learn(writer.system, Rememberer(pair_loader(seen, table), blip=True), args.write, args.lr, seed, batch=32)
    return writer


def taught(
    args: argparse.Namespace, seed: int, kind: str, lesson: Any, tokens: Tokens, begun: Model | None
) -> tuple[Model, dict[str, Any]]:
    """Train a model on an example set: on cached encodings with the weights of a captioner, or completely from scratch."""
    system, more = KINDS[kind]
    words = [*shape(args.size, args.width, args.depth), *DROPOUT, more]
    model = build(system, tokens, "tiny", words, seed)
    loader = lesson.loader(tokens, model.config, model.pixels, numpy.arange(lesson.count), True, 0)
    batches: Any = loader
    if begun is not None:
        start = registry.find("systems", system).STARTS["blip"]
        put_shared(model.system, start(tensors_of(begun.system), model.config))
        loader.pictures = encoded_pictures(model, model.system.image, loader.pictures)
        batches = Rememberer(loader)
    loss = learn(model.system, batches, args.steps, args.lr, seed)
    return model.eval(), {"learned from": lesson.count, "loss": loss}


def pictures_of(model: Model, examples: Sequence[Any]) -> Tensor:
    """The pictures of examples, [B N 3 X Y]."""
    pixels = [[model.pixels.to_uint8(open_image(blob.read())) for blob in one.images] for one in examples]
    return torch.from_numpy(model.pixels.normalise(numpy.array(pixels)))


def judged(model: Model, examples: Sequence[Any], lesson: Any) -> tuple[list[str], list[str]]:
    """Verdicts of a blip_nlvr on statements, and the truth."""
    verdicts = []
    for at in range(0, len(examples), 64):
        part = examples[at : at + 64]
        chances = [one.chance for one in reason(model, pictures_of(model, part), [one.text for one in part])]
        verdicts += [str(chance > 0.5) for chance in chances.tolist()]
    return verdicts, [str(bool(one.true)) for one in examples]


def answered(model: Model, examples: Sequence[Any], lesson: Any) -> tuple[list[str], list[str]]:
    """Answers of a blip_vqa, chosen from all answers of the training set, and the truth."""
    choices = Choices(model.tokens, [answer for one in lesson.examples for answer in one.answers], 8)
    answers: list[str] = []
    for at in range(0, len(examples), 64):
        part = examples[at : at + 64]
        texts = [one.question for one in part]
        batch = questions_batch(model, pictures_of(model, part)[:, 0], texts)
        answers += [best[0].text for best in choose(model.system, batch, choices)]
    return answers, [one.answers[0] for one in examples]


KINDS = {"questions": ("blip_vqa", "answer_length=8"), "statements": ("blip_nlvr", "merge_from=1")}
MEASURES = {"questions": answered, "statements": judged}


def run(args: argparse.Namespace, seed: int, work: Path) -> None:
    """Run one seed: train a captioner, and print a line for each kind."""
    worlds = [
        World(count, 2 * seed + at, "simple", args.size) for at, count in enumerate((args.scenes, ASKED))
    ]
    for kind in args.kinds:
        for world, part in zip(worlds, ("learn", "asked")):
            write_examples(world, work / part / kind, kind)
    lessons = {
        kind: registry.find("data.datasets", kind).Dataset(work / "learn" / kind, work) for kind in args.kinds
    }
    words = [worlds[0].row(row).text for row in range(args.scenes)]
    words += [word for lesson in lessons.values() for group in lesson.words() for word in group]
    began = time.process_time()
    tokens = Tokens.train(words, 600)
    begun = None if args.scratch else captioner(worlds[0], tokens, args, seed)
    spent = time.process_time() - began
    for kind, lesson in lessons.items():
        began = time.process_time()
        model, facts = taught(args, seed, kind, lesson, tokens, begun)
        examples = list(open_examples(work / "asked" / kind, kind))
        answers, truth = MEASURES[kind](model, examples, lesson)
        right = numpy.array([one == other for one, other in zip(answers, truth)])
        numbers = summary(right, sorts_of(work / "asked" / kind / f"{kind}.jsonl"), truth)
        took = {"captions_cpu_s": round(spent), "cpu_s": round(time.process_time() - began)}
        print(
            json.dumps({"what": kind, "seed": seed, "scratch": args.scratch, **took, **numbers, **facts}),
            flush=True,
        )


def sorts_of(file: Path) -> list[str]:
    return [json.loads(line)["sort"] for line in file.read_text("utf-8").splitlines()]


def summary(right: numpy.ndarray, sorts: Sequence[str], truth: Sequence[str]) -> dict[str, Any]:
    """Accuracy in total and by sort, with Wilson's interval; blind: that of the most frequent truth of each sort."""
    by_sort: dict[str, list[int]] = defaultdict(list)
    for row, sort in enumerate(sorts):
        by_sort[sort].append(row)
    known = {sort: Counter(truth[row] for row in rows).most_common(1)[0][1] for sort, rows in by_sort.items()}
    return {
        "asked": len(right), "accuracy": float(right.mean()), "interval": ends(wilson(int(right.sum()), len(right))),
        "blind": sum(known.values()) / len(right),
        "by sort, blind": {
            sort: [round(float(right[rows].mean()), 3), round(known[sort] / len(rows), 3)]
            for sort, rows in sorted(by_sort.items())
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    # steps of seeing, of writing captions, of each kind; pictures to learn from
    for name, value in dict(see=120, write=250, steps=500, scenes=1500, size=48, width=64, depth=3).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--scratch", action="store_true", help="without captions first")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(args.first, args.first + args.seeds):
        with tempfile.TemporaryDirectory() as work:
            run(args, seed, Path(work))


if __name__ == "__main__":
    main()
