"""Do new words, whose meaning is told only in the prompt, become known by examples? Accuracy by the number of shots.

    python benchmarks/bench_few_shot.py --seeds 3 --out few_shot.json

The drawn world, one thing a picture. In every document four colours have a new word each, another in every document:
"<image> dax <|endofchunk|> <image> wug ...". Three parts are trained in order, each from scratch: a CLIP on captions; a
language model on texts ("red dax . blue wug . red dax ..."), which never sees a picture; and, both frozen, the bridge of a
Flamingo on documents of eight pictures. Asked: the word of one picture more, greedily among all words, after 0 (two words
without pictures), 1, 4 and 16 examples drawn from the same four colours, with scenes, words and pairings that were not
learned from; the two words without pictures mean nothing on their page. Printed: accuracy for each seed, the share of questions whose colour is among the shots (no model can be
expected to know more, beyond a guess), and the paired difference of 16 and 0 shots with its interval over seeds and questions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.data.batch import Batch
from pairloom.data.loader import Held, Loader, TextTable
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.data.world.documents import new_words
from pairloom.data.world.draw import draw
from pairloom.data.world.layout import sample
from pairloom.data.world.level import LEVELS
from pairloom.data.world.scene import Turn
from pairloom.metrics.compare import difference
from pairloom.model import Model, build
from pairloom.systems import clip, flamingo
from pairloom.tasks.decode import Writing
from pairloom.tasks.few_shot import TEMPLATES, Asking, Shot, few_shot
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

SIZE, WAYS, WORDS, PICTURES, LONGEST = 32, 4, 32, 8, 20
SHOTS = (0, 1, 4, 16)
COLOURS = LEVELS["simple"].colours
VISION = replace(
    clip.TINY, image_size=SIZE, patch=8, image_width=64, image_heads=4, width=64, heads=4, embedding=32
)


@dataclass(frozen=True)
class Scenes:
    """Pictures of one thing each [M SIZE SIZE 3], the number of its colour [M], and a caption."""

    pixels: np.ndarray
    colour: np.ndarray
    captions: list[str]


def scenes(count: int, seed: int) -> Scenes:
    made, at = [], 0
    while len(made) < count:
        scene = sample(seed_of("few", seed, at), "simple")
        made += [scene] if len(scene.things) == 1 else []
        at += 1
    things = [scene.things[0] for scene in made]
    return Scenes(
        np.stack([draw(scene, SIZE) for scene in made]),
        np.array([COLOURS.index(thing.colour) for thing in things]),
        [f"{thing.colour} {thing.kind}" for thing in things],
    )


def pairing(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four colours and a word for each."""
    return generator.permutation(len(COLOURS))[:WAYS], generator.permutation(WORDS)[:WAYS]


@dataclass(frozen=True)
class Texts:
    """What the language model learns from: colour, word, full stop, 4 to LONGEST times, of which the words are scored;
    every step its own."""

    tokens: Tokens
    words: list[str]

    def steps(self, plan: Plan) -> int:
        return 1 << 30

    def identity(self) -> str:
        return f"texts {LONGEST}"

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        ids = {name: self.tokens.rows([name], 9)[0][1:-1] for name in (*COLOURS, *self.words, ".")}
        assert all(len(row) == 1 for row in ids.values()), "every word of this world is one token"
        colour = np.array([ids[name][0] for name in COLOURS])
        word = np.array([ids[name][0] for name in self.words])
        for at in range(step, self.steps(plan)):
            generator = np.random.default_rng(seed_of("text", plan.seed, at))
            length = int(generator.integers(4, LONGEST + 1))
            rows = np.empty((plan.batch, length, 3), np.int64)
            for row in rows:
                colours, names = pairing(generator)
                drawn = generator.integers(WAYS, size=length)
                row[:] = np.stack(
                    [colour[colours[drawn]], word[names[drawn]], np.full(length, ids["."][0])], 1
                )
            first = np.full((plan.batch, 1), self.tokens.cls)
            tokens = torch.from_numpy(np.concatenate([first, rows.reshape(plan.batch, -1)], 1))
            scored = torch.zeros_like(tokens, dtype=torch.bool)
            scored[:, 2::3] = True
            yield [Batch(tokens=tokens, keep=scored)]


@dataclass(frozen=True)
class Documents:
    """What the bridge learns from: picture and word, PICTURES times; every step its own."""

    tokens: Tokens
    words: list[str]
    scenes: Scenes
    images: torch.Tensor

    def steps(self, plan: Plan) -> int:
        return 1 << 30

    def identity(self) -> str:
        return f"documents {len(self.images)}"

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]:
        assert self.tokens.image_mark is not None and self.tokens.chunk_end is not None
        of = [np.flatnonzero(self.scenes.colour == at) for at in range(len(COLOURS))]
        word = np.array([row[1] for row in self.tokens.rows(self.words, 9)])
        for at in range(step, self.steps(plan)):
            generator = np.random.default_rng(seed_of("document", plan.seed, at))
            rows = np.empty((plan.batch, PICTURES, 3), np.int64)
            shows = np.empty((plan.batch, PICTURES), np.int64)
            rows[:, :, 0], rows[:, :, 2] = self.tokens.image_mark, self.tokens.chunk_end
            for row, show in zip(rows, shows):
                colours, names = pairing(generator)
                drawn = generator.integers(WAYS, size=PICTURES)
                row[:, 1] = word[names[drawn]]
                show[:] = [generator.choice(of[colours[one]]) for one in drawn]
            first = np.full((plan.batch, 1), self.tokens.cls)
            tokens = torch.from_numpy(np.concatenate([first, rows.reshape(plan.batch, -1)], 1))
            keep = torch.ones_like(tokens, dtype=torch.bool)
            yield [Batch(images=self.images[torch.from_numpy(shows)], tokens=tokens, keep=keep)]


def train_vision(told: Scenes, seed: int, steps: int) -> clip.System:
    """A small CLIP on colours and kinds."""
    tokens = Tokens.train(told.captions, 200)
    config = replace(VISION, vocabulary=tokens.size, pad=tokens.pad, cls=tokens.cls, sep=tokens.sep, length=6)
    torch.manual_seed(seed)
    system = clip.System(config)
    table = TextTable.of(tokens, ([caption] for caption in told.captions), 6)
    names = np.unique(told.captions, return_inverse=True)[1]
    settings = Settings(lr=2e-3, batch=128, steps=steps, seed=seed, weight_decay=0.1, log_every=50)
    fitted = fit(system, Loader(Held(told.pixels), table, ids=names), settings)
    print("  clip", [round(line["loss"], 2) for line in fitted.lines if "loss" in line][::3], flush=True)
    return system


def assemble(vision: clip.System, tokens: Tokens, seed: int) -> Model:
    """A small Flamingo round that tower; its language model has yet to learn."""
    sizes = (
        "width=96 depth=2 heads=4 positions=160 latents=4 resampler_width=64 resampler_depth=1 resampler_heads=4 "
        "resampler_inside=64 gate_heads=4 gate_inside=96 frames=0"
    )
    model = build("flamingo", tokens, "tiny", sizes.split(), seed)
    config = replace(model.config, vision=vision.config, learn="language", images=PICTURES)
    torch.manual_seed(seed)
    system = flamingo.System(config)
    put_tensors(system.vision, tensors_of(vision))
    return replace(model, system=system)


def bridged(model: Model) -> Model:
    """The same weights, where the bridge learns and the rest is frozen."""
    system = flamingo.System(replace(model.config, learn="bridge"))
    put_tensors(system, tensors_of(model.system))
    return replace(model, system=system)


def ask(
    model: Model, words: list[str], told: Scenes, images: torch.Tensor, seed: int, questions: int
) -> dict[str, np.ndarray]:
    """Right or wrong for each question at each number of shots, and whether its colour was among the shots."""
    system, tokens = model.system.eval(), model.tokens
    with torch.no_grad():
        looked = system.see(Batch(images=images[:, None]))
    of = [np.flatnonzero(told.colour == at) for at in range(len(COLOURS))]
    found: dict[str, list[bool]] = {f"{kind}{shots}": [] for shots in SHOTS for kind in ("right", "shown")}
    for question in range(questions):
        generator = np.random.default_rng(seed_of("question", seed, question))
        colours, names = pairing(generator)
        drawn = generator.integers(WAYS, size=max(SHOTS) + 1)
        picked = [int(generator.choice(of[colours[one]])) for one in drawn]
        shots = [Shot(picture, words[names[one]]) for picture, one in zip(picked, drawn)]
        query, support = shots[-1], shots[:-1]
        others = [one for one in range(WORDS) if one not in names][
            :2
        ]  # they tell the form of an answer, no meaning
        for count in SHOTS:
            given = support[:count] or [Shot(0, words[one]) for one in others]
            asking = Asking(TEMPLATES["name"], count, alike=False)
            (said,) = few_shot(system, tokens, looked, given, [query], asking, Writing("greedy", 1, 2, 0))
            found[f"right{count}"].append(said.text == query.answer)
            found[f"shown{count}"].append(drawn[-1] in drawn[:count])
    return {name: np.array(values, float) for name, values in found.items()}


def run(seed: int, steps: tuple[int, int, int], questions: int) -> dict[str, np.ndarray]:
    begun = time.process_time()
    told, held = scenes(1200, seed), scenes(400, 1000 + seed)
    words = new_words(WORDS, Turn(seed))
    tokens = Tokens.train([" ".join((*COLOURS, *words, "."))] * 2, 400).marked()
    vision = train_vision(told, seed, steps[0])
    model = assemble(vision, tokens, seed)
    pictures = [torch.from_numpy(model.pixels.normalise(part.pixels)) for part in (told, held)]
    settings = Settings(
        lr=3e-3, batch=32, steps=steps[1], seed=seed, log_every=50, warmup=50, betas=(0.9, 0.98), schedule="constant"
    )  # fmt: skip
    fitted = fit(model.system, Texts(tokens, words), settings)
    print("  language", [round(line["loss"], 2) for line in fitted.lines][::2], flush=True)
    model = bridged(model)
    fitted = fit(
        model.system,
        Documents(tokens, words, told, pictures[0]),
        replace(settings, steps=steps[2], schedule="cosine"),
    )
    print("  bridge", [round(line["loss"], 2) for line in fitted.lines][::2], flush=True)
    made = ask(model, words, held, pictures[1], seed, questions)
    told_ = {name: round(float(values.mean()), 3) for name, values in made.items()}
    print(f"seed {seed}: {told_}, {time.process_time() - begun:.0f} CPU seconds", flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--steps", type=int, nargs=3, default=(60, 2000, 300), metavar=("CLIP", "LANGUAGE", "BRIDGE")
    )
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = [
        run(seed, tuple(given.steps), given.questions)
        for seed in range(given.first, given.first + given.seeds)
    ]
    gain = difference(np.stack([one["right16"] for one in runs]), np.stack([one["right0"] for one in runs]))
    summary = {
        "accuracy": {shots: [round(float(one[f"right{shots}"].mean()), 3) for one in runs] for shots in SHOTS},
        "colour among the shots": {shots: [round(float(one[f"shown{shots}"].mean()), 3) for one in runs] for shots in SHOTS},
        "16 - 0": [gain.value, gain.low, gain.high],
    }  # fmt: skip
    print(json.dumps(summary, indent=1))
    if given.out:
        answers = [{name: values.tolist() for name, values in one.items()} for one in runs]
        given.out.write_text(json.dumps({**summary, "answers": answers}, indent=1))


if __name__ == "__main__":
    main()
