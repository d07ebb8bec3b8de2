"""What CoCa claims of itself (Yu et al., 2022, arXiv 2205.01917, table 8) on the drawn world: one model, two losses.

One residual image tower is trained by contrast on other pairs, and every model begins with it (the paper's learn patches,
from nothing and from millions of pairs). All learn for equally many steps and are measured as they are on the same held-out
pictures: retrieval by cosine, captions by beam 3.

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- both: a model with both losses retrieves, which one that only captions cannot, and captions, which one that only contrasts
  cannot; it finds more than contrast alone, and its captions are at most two points of facts and half a point of
  CIDEr-D (of 10) behind captioning alone.
- cost: a step of both losses has fewer than 1.3 times the floating-point operations of contrast alone.
- poolers: cascade finds more and captions better than parallel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

import pairloom
from experiments.claims import _drawn, _jobs
from experiments.claims._drawn import Pictures
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

FOUND, SAID = ("R@1", "R@5"), ("CIDEr-D", "facts true")
BOTH, CONTRAST, CAPTION = "both", "contrast alone", "captioning alone"
# how far `both` may fall behind captioning alone; CIDEr-D is 10 for a text like its reference
MARGINS = {"CIDEr-D": 0.5, "facts true": 0.02}
BOTH_PLUS_MARGIN = "both, plus a margin of 0.5 in CIDEr-D and 0.02 in facts true"
CLAIMS = (
    Claim(
        "both",
        "A model with two losses does both tasks, and each as well as a model with its own loss alone.",
        "table 8 (b)",
        (
            Contrast(BOTH, CAPTION, FOUND, "(captioning alone has no embedding)"),
            Contrast(BOTH, CONTRAST, SAID, "(contrast alone has no captions)"),
            Contrast(BOTH, CONTRAST, FOUND, "ImageNet 71.6 / 70.7"),
            Contrast(BOTH_PLUS_MARGIN, CAPTION, SAID, "VQA 69.0 / 68.9"),
        ),
    ),
    Claim(
        "cost",
        "The second loss is nearly free: both come from one pass.",
        "table 8 (b)",
        (Contrast("1.3 times contrast alone", BOTH, ("GFLOP a step",), "TPU time 1.18"),),
    ),
    Claim(
        "poolers",
        "Pooling the captioning queries once more for the contrast is better than pooling the picture twice.",
        "table 8 (e)",
        (Contrast(BOTH, "parallel", (*FOUND, *SAID), "ImageNet 71.6 / 71.2"),),
    ),
)
CONDITIONS: Mapping[str, dict[str, Any]] = {
    BOTH: {},
    CONTRAST: {"lm": 0.0},
    CAPTION: {"itc": 0.0},
    "parallel": {"poolers": "parallel"},
}
DERIVED = {BOTH_PLUS_MARGIN: BOTH, "1.3 times contrast alone": CONTRAST}
START = "start"  # the job that trains the image tower, once for all seeds


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs, held: numbers of training and of held-out pictures. width: of all parts; depth: of each half
    of the decoder; steps: of each model; start_pairs, start_steps: of the initial image tower."""

    pairs: int = 3000
    held: int = 400
    size: int = 32
    patch: int = 8
    width: int = 64
    depth: int = 2
    batch: int = 64
    steps: int = 300
    lr: float = 2e-3
    start_pairs: int = 4000
    start_steps: int = 500

    def __post_init__(self) -> None:
        if min(self.pairs, self.held, self.start_pairs) < 2 or self.size % self.patch:
            raise ValueError("there are at least 2 pairs of each kind, and patches that fill the picture")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: the initial image tower, then the conditions."""
    own = {DERIVED.get(name, name) for name in named}
    return [[START], [name for name in CONDITIONS if name in own]]


def derived(outcomes: Mapping[tuple[str, Any], Any]) -> dict[tuple[str, int], Any]:
    """The outcomes, and the conditions that are another condition's numbers raised by the margin of a rule."""
    combined = dict(outcomes)
    for (name, seed), values in outcomes.items():
        if name == BOTH:
            combined[BOTH_PLUS_MARGIN, seed] = {
                measure: [value + more for value in values[measure]] for measure, more in MARGINS.items()
            }
        if name == CONTRAST:
            raised = [1.3 * value for value in values["GFLOP a step"]]
            combined["1.3 times contrast alone", seed] = {"GFLOP a step": raised}
    return combined


def make(job: Job) -> dict[str, Any]:
    return (_start if job.name == START else _condition)(job)


@lru_cache(maxsize=2)
def _data(setting: Setting, seed: int) -> tuple[Pictures, Pictures]:
    """Training and held-out pictures; worlds of different seeds share no scene."""
    s = setting
    learn, held = (seed_of("claims coca", seed, part) >> 32 for part in ("learn", "held"))
    return _drawn.pictures(s.pairs, learn, s.size), _drawn.pictures(s.held, held, s.size)


def _start(job: Job) -> dict[str, Any]:
    """Train the initial image tower by contrast with the captions of a world of its own."""
    s = job.setting
    pairs = _drawn.pictures(s.start_pairs, seed_of("claims coca", START) >> 32, s.size)
    model = _built(s, pairs.texts, {"lm": 0.0}, 0)
    _train(model, pairs, s, s.start_steps, 0)
    models.save(model, job.folder / "image-tower")
    return {"steps": s.start_steps}


def _built(s: Setting, texts: Sequence[str], own: Mapping[str, Any], seed: int) -> Any:
    sizes = dict(
        image_size=s.size, patch=s.patch, image_width=s.width, image_depth=0, image_heads=4, stem="residual", queries=16, pool_heads=4,
        length=16, width=s.width, unimodal=s.depth, multimodal=s.depth, heads=4, embedding=64, **own,
    )  # fmt: skip
    return models.build(
        "coca", Tokens.train(texts, 300), "tiny", [f"{key}={value}" for key, value in sizes.items()], seed
    )


def _condition(job: Job) -> dict[str, Any]:
    """Train one model and measure it."""
    s = job.setting
    pairs, held = _data(s, job.seed)
    model = _built(s, pairs.texts, CONDITIONS[job.name], job.seed)
    put_tensors(model.system.image, tensors_of(pairloom.load(job.out / "image-tower").system.image))
    operations = _operations(model, pairs, s)
    _train(model, pairs, s, s.steps, job.seed)
    return _drawn.measure(model, held) | {"GFLOP a step": [operations]}


def _operations(model: Any, pairs: Pictures, s: Setting) -> float:
    """GFLOP of the matrix products of one training step on the first pairs, forward and backward."""
    rows = min(s.batch, len(pairs.texts))
    batch = replace(
        model.batch(texts=pairs.texts[:rows]), images=_drawn.look(model, pairs.pixels[:rows])[:, None]
    )
    with FlopCounterMode(display=False) as counter:
        losses = model.system.losses(batch)
        sum(losses.values()).backward()
    model.system.zero_grad()
    return counter.get_total_flops() / 1e9


def _train(model: Any, pairs: Pictures, s: Setting, steps: int, seed: int) -> None:
    table = TextTable.of(model.tokens, [[text] for text in pairs.texts], model.config.length)
    loader = pair_loader(InMemoryImages(pairs.pixels, model.pixels.mean, model.pixels.std, flip=0.5), table)
    settings = Settings(
        lr=s.lr, min_lr=0.0, batch=min(s.batch, len(loader.rows)), steps=steps, warmup=0.1, betas=(0.9, 0.98),
        weight_decay=0.01, seed=seed, save_every=0, threads=1,
    )  # fmt: skip
    fit(model.system, loader, settings)


run = _jobs.runner(CLAIMS, stages, make, lambda outcomes, setting: derived(outcomes), once=[START])
