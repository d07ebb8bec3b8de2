"""Flamingo's own claims (Alayrac et al., 2022, arXiv 2204.14198, table 3 and section 3.1) on pages of invented words, whose
meaning is defined by the examples in the prompt alone.

For each seed a small CLIP is trained on captions, and a language model on texts ("red dax . blue wug . red dax .") without
pictures. Both are frozen and joined by a bridge, which is trained on pages with pictures and on pairs in equal parts; every
condition starts from the same two and is trained for equally many steps. The test asks for the word of one more picture,
greedily among all words, after 0, 1, 4 and 16 examples. The scenes are held out; the words are those of training, but their
meaning is drawn anew for every page. After 1 and 4 examples not every question can be answered: its colour has to be among
the examples (`known`).

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- shots: more answers are right after 1 example than after none, after 4 than after 1, after 16 than after 4.
- gates: at the start every logit is the language model's, to the bit; after training more answers are right than with the
  gates of the same model closed; and gates that start at 0 are better than no gates.
- pages: after training on pairs alone, without pages of several pictures, fewer answers are right.
- frozen: with a language model that is trained too fewer answers are right, and it is worse at its own texts.

It is smaller than the paper by six orders of magnitude. The paper's overall score is the mean over five benchmarks, scaled by
the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pairloom
from experiments.claims import _jobs, _new_words
from experiments.claims._jobs import Job
from experiments.claims._new_words import Lexicon, Pages, Pairs, Scenes, TextPages
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.data.batch import Batch
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.mixture import Mixture
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.systems import clip, flamingo
from pairloom.tasks.few_shot import TEMPLATES, Prompting, Shot, prompt
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

SHOTS = (0, 1, 4, 16)
MOST = f"right after {SHOTS[-1]}"
CLAIMS = (
    Claim(
        "shots",
        "With more examples in the prompt more answers are right, without any training.",
        "table 1, figure 2",
        (
            Contrast("1 shot", "0 shots", ("right",), "(CIDEr on COCO, 3B: 73.0 at 0)"),
            Contrast("4 shots", "1 shot", ("right",), "CIDEr 85.0 at 4"),
            Contrast("16 shots", "4 shots", ("right",), "CIDEr 99.0 at 32"),
            Contrast("16 shots", "0 shots", ("right",), "CIDEr 99.0 / 73.0"),
        ),
    ),
    Claim(
        "gates",
        "With gates that start closed the model starts as its language model, and then learns to use the pictures.",
        "section 2.2, table 3 (iii)",
        (
            Contrast("at the start", "flamingo", ("logits of the language model",), "all / -"),
            Contrast("flamingo", "gates held shut", (MOST,), "(no number)"),
            Contrast("flamingo", "no gates", (MOST,), "overall 70.7 / 66.5"),
        ),
    ),
    Claim(
        "pages",
        "Training on pages with interleaved pictures is better than training on pairs alone.",
        "table 3 (i)",
        (Contrast("flamingo", "pairs alone", (MOST,), "overall 70.7 / 53.4"),),
    ),
    Claim(
        "frozen",
        "A frozen language model forgets nothing, and is better than one that is trained too.",
        "table 3 (viii)",
        (Contrast("flamingo", "language model tuned", (MOST, "texts right"), "overall 70.7 / 62.7"),),
    ),
)
CONDITIONS = ("flamingo", "gates held shut", "no gates", "pairs alone", "language model tuned")
START = "start"  # the job that trains both parts of a seed
OPEN = 20.0  # tanh of it is 1


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. scenes, held: numbers of training and of held-out pictures. vision_steps, language_steps: of the two
    parts; steps: of each bridge. pictures: of a page; longest: entries of a text."""

    scenes: int = 1200
    held: int = 400
    size: int = 32
    width: int = 64
    questions: int = 300
    vision_steps: int = 120
    language_steps: int = 900
    longest: int = 20
    steps: int = 700
    batch: int = 16
    pictures: int = 8
    lr: float = 4e-3

    def __post_init__(self) -> None:
        if min(self.scenes, self.held) < 100 or self.longest <= SHOTS[-1] or self.pictures < 2:
            raise ValueError("every colour needs scenes, a text 17 entries, a page 2 pictures")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: the parts of every seed, then the conditions; the first condition is always among them."""
    return [[START], [name for name in CONDITIONS if name in named or name == CONDITIONS[0]]]


def derived(outcomes: Mapping[tuple[str, int], Any]) -> dict[tuple[str, int], Any]:
    """The outcomes, and the conditions that are numbers of one model, by the number of shots or before its training."""
    combined = dict(outcomes)
    for (name, seed), values in outcomes.items():
        if name == START:
            combined["at the start", seed] = values
        if name == CONDITIONS[0]:
            for shots in SHOTS:
                combined[f"{shots} shot{'s' * (shots != 1)}", seed] = {
                    "right": values[f"right after {shots}"]
                }
    return combined


def make(job: Job) -> dict[str, Any]:
    return (_start if job.name == START else _condition)(job)


@lru_cache(maxsize=2)
def _data(s: Setting, seed: int) -> tuple[Scenes, Scenes, Lexicon]:
    """Training and held-out scenes, and the vocabulary."""
    learn, held = (seed_of("claims flamingo", seed, part) >> 32 for part in ("learn", "held"))
    return (
        _new_words.scenes(s.scenes, learn, s.size),
        _new_words.scenes(s.held, held, s.size),
        Lexicon.of(seed),
    )


def _settings(s: Setting, steps: int, seed: int) -> Settings:
    return Settings(
        lr=s.lr, min_lr=0.0, batch=s.batch, steps=steps, warmup=0.1, betas=(0.9, 0.98), seed=seed, save_every=0, threads=1
    )  # fmt: skip


# -- parts -------------------------------------------------------------------------------------------------------------


def _start(job: Job) -> dict[str, Any]:
    """Train vision tower and language model, and join them by a new bridge."""
    s, seed = job.setting, job.seed
    scenes, held, lexicon = _data(s, seed)
    model = _assembled(_vision(s, scenes, seed), lexicon.tokens, s, seed)
    settings = replace(
        _settings(s, s.language_steps, seed), lr=1e-3, batch=20, schedule="constant", warmup=50
    )
    fit(model.system, TextPages(lexicon, s.longest, s.language_steps), settings)
    system = flamingo.System(replace(model.config, learn="bridge"))
    put_tensors(system, tensors_of(model.system))
    model = replace(model, system=system.eval())
    models.save(model, job.folder / "parts")
    return _texts_right(model, lexicon, s, seed) | _identity(model, held, lexicon, s, seed)


def _vision(s: Setting, scenes: Scenes, seed: int) -> clip.System:
    """Train a small CLIP on captions of colours and kinds."""
    tokens = Tokens.train(scenes.captions, 200)
    sizes = f"image_size={s.size} patch=8 image_width={s.width} image_heads=4 width={s.width} heads=4 embedding=32 length=6"
    model = models.build("clip", tokens, "tiny", sizes.split(), seed)
    table = TextTable.of(tokens, ([caption] for caption in scenes.captions), 6)
    names = np.unique(scenes.captions, return_inverse=True)[1]
    settings = replace(
        _settings(s, s.vision_steps, seed), lr=2e-3, batch=min(128, s.scenes), weight_decay=0.1
    )
    fit(model.system, pair_loader(InMemoryImages(scenes.pixels), table, ids=names), settings)
    return model.system


def _assembled(vision: clip.System, tokens: Tokens, s: Setting, seed: int) -> Any:
    sizes = (
        f"width={s.width} depth=2 heads=4 positions=160 latents=4 resampler_width={s.width} resampler_depth=1 "
        f"resampler_heads=4 resampler_inside={s.width} gate_heads=4 gate_inside={s.width} frames=0 learn=language"
    )
    model = models.build("flamingo", tokens, "tiny", sizes.split(), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = flamingo.System(replace(model.config, vision=vision.config.image_encoder, images=s.pictures))
    tensors = tensors_of(vision)
    put_tensors(system.vision, {name: tensors[name] for name in tensors_of(system.vision)})
    return replace(model, system=system)


# -- conditions --------------------------------------------------------------------------------------------------------


def _condition(job: Job) -> dict[str, Any]:
    """Train one bridge and measure it."""
    s, seed = job.setting, job.seed
    scenes, held, lexicon = _data(s, seed)
    model = pairloom.load(job.folder / "parts")
    if job.name in ("gates held shut", "no gates"):
        for part in model.system.gated:
            for gate in (part.attend_gate, part.feed_gate):
                gate.data.fill_(OPEN if job.name == "no gates" else 0.0)
                gate.requires_grad_(False)
    model.system.language.requires_grad_(job.name == "language model tuned")
    images = torch.from_numpy(model.pixels.normalise(scenes.pixels))
    pairs = Pairs(lexicon, scenes, images, 1, s.steps)
    learnt: Any = pairs
    if job.name != "pairs alone":
        learnt = Mixture((Pages(lexicon, scenes, images, s.pictures, s.steps), pairs), (1.0, 1.0))
    fit(model.system, learnt, _settings(s, s.steps, seed))
    return (
        _answers(model, held, lexicon, s, seed)
        | _texts_right(model, lexicon, s, seed)
        | _identity(model, held, lexicon, s, seed)
    )


@torch.no_grad()
def _answers(model: Any, held: Scenes, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """For each number of shots: whether each question is answered correctly, and whether its colour is among the examples."""
    system, rows = model.system, {}
    images = torch.from_numpy(model.pixels.normalise(held.pixels))
    encoded = system.encode_image(Batch(images=images[:, None]))
    questions = _new_words.questions(held, lexicon, s.questions, SHOTS[-1], seed)
    answers = torch.from_numpy(lexicon.word)[[lexicon.words.index(one.word) for one in questions]]
    for shots in SHOTS:
        asking = Prompting(TEMPLATES["name"], shots, alike=False)
        built = []
        for one in questions:
            examples = [Shot(picture, word) for picture, word in zip(one.pictures[:shots], one.words)]
            built.append(
                prompt(
                    lexicon.tokens,
                    asking,
                    examples or [Shot(0, word) for word in one.blind],
                    Shot(one.picture),
                )
            )
        batch = system.arrange(encoded, torch.tensor([pictures for _, pictures in built]))
        predictions = system.read(system.start(batch), torch.tensor([ids for ids, _ in built]))[0].argmax(1)
        rows[f"right after {shots}"] = (predictions == answers).float().tolist()
        rows[f"known after {shots}"] = [float(one.word in one.words[:shots]) for one in questions]
    return rows


@torch.no_grad()
def _texts_right(model: Any, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """Share of words in texts without pictures that the language model predicts, for each text, of words that have occurred
    before."""
    generator = np.random.default_rng(seed_of("texts", seed))
    batch = TextPages(lexicon, s.longest, 1).batch(generator, s.questions, 1)
    tokens, mask = batch.text()
    logits = model.system.language.read(model.system.language.embed(tokens[:, :-1]))[0]
    right = (logits.argmax(2) == tokens[:, 1:]) & mask[:, 1:]
    return {"texts right": (right.sum(1) / mask.sum(1)).tolist()}


@torch.no_grad()
def _identity(model: Any, held: Scenes, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """For each page with pictures: 1 where every logit equals the language model's without the bridge, to the bit."""
    images = torch.from_numpy(model.pixels.normalise(held.pixels))
    generator = np.random.default_rng(seed_of("pages", seed))
    batch = Pages(lexicon, held, images, s.pictures, 1).batch(generator, 20, 1)
    system, tokens = model.system, batch.text()[0]
    with_pictures: Tensor = system.logits(batch)
    without: Tensor = system._read(tokens, None, lambda index, x: x)[0]
    return {"logits of the language model": (with_pictures == without).flatten(1).all(1).float().tolist()}


run = _jobs.runner(CLAIMS, stages, make, lambda outcomes, setting: derived(outcomes))
