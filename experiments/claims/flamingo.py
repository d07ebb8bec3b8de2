"""What Flamingo claims of itself (Alayrac et al., 2022, arXiv 2204.14198, table 3 and section 3.1) on pages of new words: what
a word means is told by the examples in the prompt alone.

For each seed a small CLIP learns from captions, and a language model from texts ("red dax . blue wug . red dax ."); it never
sees a picture. Both are frozen and joined by a bridge, which learns from pages of pictures and from pairs in equal parts;
every condition begins with the same two and learns for equally many steps. Asked is the word of one picture more, greedily
among all words, after 0, 1, 4 and 16 examples. Scenes were not learned from; the words were, but what each means is drawn
anew on every page. After 1 and 4 examples not every question can be known: the colour has to be among them (`known`).

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- shots: more are right after 1 example than after none, after 4 than after 1, after 16 than after 4.
- gates: at the start every logit is the language model's, to the bit; what the gates then let through makes answers right
  that the same model with its gates shut gets wrong; and gates that open from 0 do better than none.
- pages: learning from pairs alone, with no page of several pictures, leaves fewer right.
- frozen: a language model that learns along answers fewer rightly, and does worse at the texts that it knew.

Smaller than the paper by six orders of magnitude. Its overall score is the mean over five benchmarks, scaled by the best.
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
        "More examples in the prompt make more answers right, without any learning.",
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
        "Behind gates that begin shut the model begins as its language model, and then learns to look.",
        "section 2.2, table 3 (iii)",
        (
            Contrast("at the start", "flamingo", ("logits of the language model",), "all / -"),
            Contrast("flamingo", "gates held shut", (MOST,), "(no number)"),
            Contrast("flamingo", "no gates", (MOST,), "overall 70.7 / 66.5"),
        ),
    ),
    Claim(
        "pages",
        "Pages with pictures in their midst teach what pairs cannot.",
        "table 3 (i)",
        (Contrast("flamingo", "pairs alone", (MOST,), "overall 70.7 / 53.4"),),
    ),
    Claim(
        "frozen",
        "A language model that stays as it was forgets nothing, and serves better than one tuned along.",
        "table 3 (viii)",
        (Contrast("flamingo", "language model tuned", (MOST, "texts right"), "overall 70.7 / 62.7"),),
    ),
)
CONDITIONS = ("flamingo", "gates held shut", "no gates", "pairs alone", "language model tuned")
START = "start"  # the job that trains both parts of a seed
OPEN = 20.0  # tanh of it is 1


@dataclass(frozen=True)
class Setting:
    """scenes, held: pictures to learn from and to ask about. vision_steps, language_steps: of the two parts; steps: of each
    bridge. pictures: of a page; longest: entries of a text."""

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
    """The parts of every seed, then what is asked for, and the first condition always."""
    return [[START], [name for name in CONDITIONS if name in named or name == CONDITIONS[0]]]


def derived(made: Mapping[tuple[str, int], Any]) -> dict[tuple[str, int], Any]:
    """The same, and the conditions that are one model's numbers by the number of shots, or from before it learned."""
    found = dict(made)
    for (name, seed), values in made.items():
        if name == START:
            found["at the start", seed] = values
        if name == CONDITIONS[0]:
            for shots in SHOTS:
                found[f"{shots} shot{'s' * (shots != 1)}", seed] = {"right": values[f"right after {shots}"]}
    return found


def make(job: Job) -> dict[str, Any]:
    return (_start if job.name == START else _condition)(job)


@lru_cache(maxsize=2)
def _data(s: Setting, seed: int) -> tuple[Scenes, Scenes, Lexicon]:
    """Scenes to learn from and held-out ones, and the words."""
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
    """Train picture tower and language model, and put them side by side, the bridge fresh."""
    s, seed = job.setting, job.seed
    given, held, lexicon = _data(s, seed)
    model = _assembled(_vision(s, given, seed), lexicon.tokens, s, seed)
    settings = replace(
        _settings(s, s.language_steps, seed), lr=1e-3, batch=20, schedule="constant", warmup=50
    )
    fit(model.system, TextPages(lexicon, s.longest, s.language_steps), settings)
    system = flamingo.System(replace(model.config, learn="bridge"))
    put_tensors(system, tensors_of(model.system))
    model = replace(model, system=system.eval())
    models.save(model, job.folder / "parts")
    return _texts_right(model, lexicon, s, seed) | _identity(model, held, lexicon, s, seed)


def _vision(s: Setting, given: Scenes, seed: int) -> clip.System:
    """A small CLIP that learns colours and kinds from captions."""
    tokens = Tokens.train(given.captions, 200)
    sizes = f"image_size={s.size} patch=8 image_width={s.width} image_heads=4 width={s.width} heads=4 embedding=32 length=6"
    model = models.build("clip", tokens, "tiny", sizes.split(), seed)
    table = TextTable.of(tokens, ([caption] for caption in given.captions), 6)
    names = np.unique(given.captions, return_inverse=True)[1]
    settings = replace(
        _settings(s, s.vision_steps, seed), lr=2e-3, batch=min(128, s.scenes), weight_decay=0.1
    )
    fit(model.system, pair_loader(InMemoryImages(given.pixels), table, ids=names), settings)
    return model.system


def _assembled(vision: clip.System, tokens: Tokens, s: Setting, seed: int) -> Any:
    sizes = (
        f"width={s.width} depth=2 heads=4 positions=160 latents=4 resampler_width={s.width} resampler_depth=1 "
        f"resampler_heads=4 resampler_inside={s.width} gate_heads=4 gate_inside={s.width} frames=0 learn=language"
    )
    model = models.build("flamingo", tokens, "tiny", sizes.split(), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = flamingo.System(replace(model.config, vision=vision.config, images=s.pictures))
    put_tensors(system.vision, tensors_of(vision))
    return replace(model, system=system)


# -- conditions --------------------------------------------------------------------------------------------------------


def _condition(job: Job) -> dict[str, Any]:
    """Train one bridge and ask."""
    s, seed = job.setting, job.seed
    given, held, lexicon = _data(s, seed)
    model = pairloom.load(job.folder / "parts")
    if job.name in ("gates held shut", "no gates"):
        for part in model.system.gated:
            for gate in (part.attend_gate, part.feed_gate):
                gate.data.fill_(OPEN if job.name == "no gates" else 0.0)
                gate.requires_grad_(False)
    model.system.language.requires_grad_(job.name == "language model tuned")
    images = torch.from_numpy(model.pixels.normalise(given.pixels))
    pairs = Pairs(lexicon, given, images, 1, s.steps)
    learnt: Any = pairs
    if job.name != "pairs alone":
        learnt = Mixture((Pages(lexicon, given, images, s.pictures, s.steps), pairs), (1.0, 1.0))
    fit(model.system, learnt, _settings(s, s.steps, seed))
    return (
        _asked(model, held, lexicon, s, seed)
        | _texts_right(model, lexicon, s, seed)
        | _identity(model, held, lexicon, s, seed)
    )


@torch.no_grad()
def _asked(model: Any, held: Scenes, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """For each number of shots: whether each question is answered rightly, and whether it could be known."""
    system, found = model.system, {}
    images = torch.from_numpy(model.pixels.normalise(held.pixels))
    looked = system.encode_image(Batch(images=images[:, None]))
    asked = _new_words.questions(held, lexicon, s.questions, SHOTS[-1], seed)
    answers = torch.from_numpy(lexicon.word)[[lexicon.words.index(one.word) for one in asked]]
    for shots in SHOTS:
        asking = Prompting(TEMPLATES["name"], shots, alike=False)
        built = []
        for one in asked:
            examples = [Shot(picture, word) for picture, word in zip(one.pictures[:shots], one.words)]
            built.append(
                prompt(
                    lexicon.tokens,
                    asking,
                    examples or [Shot(0, word) for word in one.blind],
                    Shot(one.picture),
                )
            )
        batch = system.arrange(looked, torch.tensor([pictures for _, pictures in built]))
        said = system.read(system.start(batch), torch.tensor([ids for ids, _ in built]))[0].argmax(1)
        found[f"right after {shots}"] = (said == answers).float().tolist()
        found[f"known after {shots}"] = [float(one.word in one.words[:shots]) for one in asked]
    return found


@torch.no_grad()
def _texts_right(model: Any, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """Of texts without pictures, all words told before: the share that the language model says by itself, for each text."""
    generator = np.random.default_rng(seed_of("texts", seed))
    batch = TextPages(lexicon, s.longest, 1).batch(generator, s.questions, 1)
    tokens, keep = batch.text()
    logits = model.system.language.read(model.system.language.embed(tokens[:, :-1]))[0]
    right = (logits.argmax(2) == tokens[:, 1:]) & keep[:, 1:]
    return {"texts right": (right.sum(1) / keep.sum(1)).tolist()}


@torch.no_grad()
def _identity(model: Any, held: Scenes, lexicon: Lexicon, s: Setting, seed: int) -> dict[str, list[float]]:
    """Of each page with pictures: 1 where every logit is to the bit what the language model says without the bridge."""
    images = torch.from_numpy(model.pixels.normalise(held.pixels))
    generator = np.random.default_rng(seed_of("pages", seed))
    batch = Pages(lexicon, held, images, s.pictures, 1).batch(generator, 20, 1)
    system, tokens = model.system, batch.text()[0]
    with_pictures: Tensor = system.logits(batch)
    without: Tensor = system._read(tokens, None, lambda index, x: x)[0]
    return {"logits of the language model": (with_pictures == without).flatten(1).all(1).float().tolist()}


run = _jobs.runner(CLAIMS, stages, make, lambda made, setting: derived(made))
