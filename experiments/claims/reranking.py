"""What DALL-E says of re-ranking (Ramesh et al., 2021, arXiv 2102.12092, section 2.6), on the drawn world, with a latent diffusion model.

For each seed a painter learns small scenes of one or two things from nothing, and a CLIP learns as many others. The painter draws 64
candidates of each held-out text, and the CLIP chooses the best of every 1, 4, 16 or 64 of them (all groups of neighbours, averaged). The
scene reader of `pairloom bench drawn`, which neither has seen, says whether every fact of the text is in the chosen picture.

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- rises: the best of 4 fits more often than one, of 16 than of 4, of 64 than of 16.
- concave: the step from 1 to 4 is larger than that from 16 to 64.
- reads: one picture fits its own text more often than another's (the blind row).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pairloom
from experiments.claims import _jobs, diffusion
from experiments.claims._drawn import Pictures
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.bench.painters import load_reader
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.tokens import Tokens
from pairloom.model import Model
from pairloom.tasks.best_of import ModelScorer
from pairloom.tasks.draw import Sampling, draw, to_image
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.world.claim import is_true
from pairloom.world.read import parse

PAINTER, JUDGE, DRAWN = "painter", "judge", "drawn"
COUNTS = (1, 4, 16, 64)
BEST = {count: f"best of {count}" for count in COUNTS}
FIRST_GAIN, LAST_GAIN, BLIND = "gain from 1 to 4", "gain from 16 to 64", "one, another text"
FITS, NUMBER = ("all facts",), "(a figure)"
CLAIMS = (
    Claim(
        "rises", "More candidates for the re-ranking model give pictures that fit better.", "section 2.6, figure 6",
        tuple(Contrast(BEST[new], BEST[old], FITS, NUMBER) for old, new in zip(COUNTS, COUNTS[1:])),
    ),
    Claim(
        "concave", "The gain falls as candidates become many.", "section 3.1, figure 9 (c)",
        (Contrast(FIRST_GAIN, LAST_GAIN, FITS, NUMBER),),
    ),
    Claim("reads", "The painter reads its text.", "(ours)", (Contrast(BEST[1], BLIND, FITS, NUMBER),)),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs: that each model learns; held: texts that are drawn, `candidates` times each. steps, judge_steps: of
    training; sampler: of drawing; width: of the CLIP."""

    pairs: int = 4000
    held: int = 60
    candidates: int = 64
    size: int = 16
    width: int = 64
    batch: int = 64
    steps: int = 1300
    judge_steps: int = 1300
    lr: float = 3e-3
    judge_lr: float = 1e-3
    sampler: int = 20
    guidance: float = 3.0

    def __post_init__(self) -> None:
        if self.candidates % max(COUNTS) or self.held < 2 or self.pairs < 2:
            raise ValueError(f"candidates come in groups of {max(COUNTS)}; at least 2 texts are held out")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: painter and judge; then what is drawn and chosen, for all conditions at once."""
    return [[PAINTER, JUDGE], [DRAWN]]


def make(job: Job) -> dict[str, Any]:
    """Train the painter or the judge, or let them draw and choose."""
    return {PAINTER: _painter, JUDGE: _judge, DRAWN: _choose}[job.name](job)


def results(
    outcomes: Mapping[tuple[str, int], Any], setting: Setting
) -> dict[tuple[str, int], dict[str, list[float]]]:
    """The conditions of each seed: the best of so many, the gains between them, and one picture with another text."""
    rows: dict[tuple[str, int], dict[str, list[float]]] = {}
    for (name, seed), values in outcomes.items():
        if name != DRAWN:
            continue
        fits = {count: np.array(values[BEST[count]]) for count in COUNTS}
        table = {BEST[count]: fits[count] for count in COUNTS}
        table |= {
            FIRST_GAIN: fits[4] - fits[1],
            LAST_GAIN: fits[64] - fits[16],
            BLIND: np.array(values[BLIND]),
        }
        rows |= {(condition, seed): {FITS[0]: some.tolist()} for condition, some in table.items()}
    return rows


@lru_cache(maxsize=2)
def _pictures(count: int, seed: int, part: str, size: int) -> Pictures:
    return diffusion.pictures(diffusion.scenes(count, seed, part), size)


def _train(model: Model, shown: Pictures, s: Setting, seed: int, **own: Any) -> None:
    images = InMemoryImages(shown.pixels, model.pixels.mean, model.pixels.std)
    table = TextTable.of(model.tokens, [[text] for text in shown.texts], model.config.length)
    common = dict(min_lr=0.0, warmup=0.05, weight_decay=0.01, save_every=0, threads=1, seed=seed)
    fit(model.system, pair_loader(images, table), Settings(batch=min(s.batch, s.pairs), **common, **own))  # type: ignore[arg-type]


def _painter(job: Job) -> dict[str, Any]:
    s, shown = job.setting, _pictures(job.setting.pairs, job.seed, "learn", job.setting.size)
    model = models.build("latent_diffusion", Tokens.train(shown.texts, 300), "drawn", [f"image_size={s.size}"], job.seed)  # fmt: skip
    _train(model, shown, s, job.seed, lr=s.lr, steps=s.steps, ema=0.98)
    models.save(model, job.folder / PAINTER)
    return {}


def _judge(job: Job) -> dict[str, Any]:
    s, shown = job.setting, _pictures(job.setting.pairs, job.seed, "judge", job.setting.size)
    sizes = dict(
        image_size=s.size, patch=4, image_width=s.width, image_depth=2, image_heads=4, width=s.width, depth=2, heads=4,
        embedding=s.width, length=16,
    )  # fmt: skip
    words = [f"{key}={value}" for key, value in sizes.items()]
    model = models.build("clip", Tokens.train(shown.texts, 300), "tiny", words, job.seed)
    _train(model, shown, s, job.seed, lr=s.judge_lr, steps=s.judge_steps)
    models.save(model, job.folder / JUDGE)
    return {}


def _choose(job: Job) -> dict[str, Any]:
    """Whether the chosen picture of each text has all of its facts, by the number of candidates."""
    s = job.setting
    painter, scorer = pairloom.load(job.folder / PAINTER), ModelScorer(pairloom.load(job.folder / JUDGE))
    reader, texts = load_reader(), _pictures(s.held, job.seed, "held", s.size).texts
    claims, values = [parse(text) for text in texts], {name: [] for name in (*BEST.values(), BLIND)}  # type: ignore[var-annotated]
    for at, text in enumerate(texts):
        rows, seeds = [text] * s.candidates, range(at * s.candidates, (at + 1) * s.candidates)
        drawn = draw(painter, rows, Sampling(s.sampler, s.guidance), seeds, group=s.candidates)
        images = [to_image(picture) for picture in drawn]
        scenes, scores = reader.read(images), np.array(scorer.scores(images, rows))
        fits = np.array([is_true(claims[at], scene) for scene in scenes], dtype=np.float64)
        for count, name in BEST.items():
            values[name].append(best_of(fits, scores, count))
        values[BLIND].append(float(np.mean([is_true(claims[at - 1], scene) for scene in scenes])))
    return values


def best_of(fits: NDArray[np.float64], scores: NDArray[np.float64], count: int) -> float:
    """Mean of `fits` [n] over the candidates of the highest score among each `count` neighbours."""
    groups = scores.reshape(-1, count)
    return float(np.take_along_axis(fits.reshape(-1, count), groups.argmax(1)[:, None], 1).mean())


run = _jobs.runner(CLAIMS, stages, make, results)
