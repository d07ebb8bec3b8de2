"""DiffusionITM (Krojer et al., 2023, arXiv 2305.16397): image-text matching by a diffusion model. The score of a pair is minus
the denoising error of its picture under its text; to compare pictures, the error under the empty text is subtracted.

The protocol `published` follows the released code in all its choices, `sound` corrects them (docs/papers/diffusion_itm.md).
Nothing is computed twice: one pass of full batches serves both directions; `decide` stops as soon as a decision is certain.
Does not know: networks, benchmarks, files.

N pictures, M texts, P pairs, S steps, C Y X sides of a latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pairloom.data.pair import seed_of
from pairloom.errors import Mistake, nearest
from pairloom.model import Model
from pairloom.objectives.denoise import Distance
from pairloom.tasks.denoiser import NOTHING, Denoiser, Latents, NoiseQuery, Picture
from pairloom.tasks.race import Decision, race, spread
from pairloom.tasks.schedule import Schedule
from pairloom.verbs import demand

Pairs = Sequence[tuple[int, int]]
GROUP = 64  # pictures, or decisions, whose latents are in memory at once
BRIGHT = 4  # pictures in a batch of the released code


@dataclass(frozen=True)
class Protocol:
    """The choices behind a score. half: distances are computed in 16 bits. sampled: the latent is a sample of the posterior,
    another one at every step, instead of its mean. brightened: pictures of a batch without a dark pixel are normalised a
    second time. grid: of the timesteps."""

    distance: Distance
    half: bool
    sampled: bool
    brightened: bool
    grid: Literal["released", "even"]


PROTOCOLS = {
    "sound": Protocol("mse", half=False, sampled=False, brightened=False, grid="even"),
    "published": Protocol("l2norm", half=True, sampled=True, brightened=True, grid="released"),
}


def grid(steps: int, kind: str = "even", times: int = 1000) -> list[int]:
    """Grid of timesteps. "even": the middles of `steps` equal parts. "released": 10 to below 990 by int(1000 / steps), which
    are 245 for 250 steps. Mistake for no steps, and for more steps than the model has times."""
    if not 1 <= steps <= times:
        raise Mistake(f"{steps} steps do not fit.", f"The model has {times} times.", f"Take 1 to {times}.")
    if kind == "released":
        return list(range(10, 990, int(1000 / steps)))
    return [int((step + 0.5) * times / steps) for step in range(steps)]


def seeded_noise(shape: Sequence[int], steps: int, seed: int) -> Tensor:
    """Standard normal noise [S C Y X]; the noise of a step does not depend on the number of steps."""
    draws = (torch.Generator().manual_seed(seed_of("noise", seed, step)) for step in range(steps))
    return torch.stack([torch.randn(tuple(shape), generator=draw) for draw in draws])


class DenoisingScorer:
    """DiffusionITM scorer of pairs. `cost` counts what was computed, `cut` names texts that were longer than the encoder reads.

    model: one whose system denoises latents. protocol: "sound", "published" or a Protocol. steps: number of timesteps;
    `times` are those of the protocol's grid. distance: instead of the protocol's. alpha: share of the empty text's error that
    is subtracted (1: DiffusionITM, 0: raw error; among texts of one picture it changes no order). seed: of the noise; or
    bank [S C Y X]: the noise of each step, the same for all pairs. weights [S]: of the steps in the mean. rows: of a batch.
    """

    def __init__(
        self,
        model: Model,
        *,
        steps: int = 10,
        protocol: str | Protocol = "sound",
        distance: Distance | None = None,
        alpha: float = 1.0,
        seed: int = 0,
        rows: int = 64,
        bank: Tensor | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        if isinstance(protocol, str) and protocol not in PROTOCOLS:
            raise Mistake(f"There is no protocol '{protocol}'.", "", nearest(protocol, PROTOCOLS))
        demand(model.system, "denoise")
        rules = self.rules = PROTOCOLS[protocol] if isinstance(protocol, str) else protocol
        times = grid(steps, rules.grid, model.system.times)
        noise = _fitting(bank, model.system.latent, len(times), seed).to(model.device)
        kind = distance or rules.distance
        self.denoiser = Denoiser(model, times, noise, kind, rules.half, rules.sampled, seed, rows)
        self.protocol, self.alpha = protocol if isinstance(protocol, str) else "own protocol", alpha
        self.weights = np.ones(len(times)) if weights is None else np.asarray(weights, np.float64)
        if self.weights.shape != (len(times),) or not self.weights.sum() > 0:
            raise Mistake(f"{self.weights.size} weights do not fit.", f"There are {len(times)} steps.")

    @property
    def way(self) -> str:
        """Name of the scoring method, for tables."""
        denoiser = self.denoiser
        return (
            f"denoising ({self.protocol}, {denoiser.kind}, {len(denoiser.times)} steps, alpha {self.alpha:g})"
        )

    @property
    def cost(self) -> dict[str, int]:
        """Counts so far: image encodings, text encodings, UNet evaluations, and truncated texts."""
        return self.denoiser.cost

    @property
    def cut(self) -> list[str]:
        """Texts that were longer than the encoder reads."""
        return self.denoiser.cut

    def scores(
        self, images: Sequence[Picture], texts: Sequence[str], pairs: Pairs, alpha: float | None = None
    ) -> NDArray[np.float64]:
        """Scores [P] of pairs, higher is better. pairs: indices into `images` and `texts`. alpha: instead of the scorer's.

        Mistake where a picture cannot be read, or an output of the network is not finite.
        """
        alpha = self.alpha if alpha is None else alpha
        own, empty = self.errors(images, texts, pairs, prior=alpha != 0)
        return -np.average(self.lessened(own, empty, alpha), axis=1, weights=self.weights)

    def lessened(
        self, own: NDArray[np.float32], empty: NDArray[np.float32], alpha: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Errors minus alpha times the empty text's errors, in 16 bits where the distances are."""
        kind = np.float16 if self.rules.half else np.float64
        left: NDArray[np.float64] = (own.astype(kind) - np.asarray(alpha, kind) * empty.astype(kind)).astype(
            np.float64
        )
        return left

    def errors(
        self, images: Sequence[Picture], texts: Sequence[str], pairs: Pairs, prior: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Denoising errors at every step: of the pairs [P S], and of their pictures with the empty text [P S] (zeros without
        `prior`)."""
        steps = range(len(self.denoiser.times))
        table = np.zeros((2, len(pairs), len(steps)), np.float32)
        twice = self._bright(images)
        for group in _groups(pairs):
            latents = self.denoiser.look(images, list(dict.fromkeys(pairs[at][0] for at in group)), twice)
            wanted = [
                (which, at, NoiseQuery(pairs[at][0], NOTHING if which else texts[pairs[at][1]], step))
                for at in group
                for which in range(1 + prior)
                for step in steps
            ]
            jobs = list(dict.fromkeys(job for _, _, job in wanted))
            errors_of = dict(zip(jobs, self.denoiser.ask(jobs, latents)))
            for which, at, job in wanted:
                table[which, at, job.step] = errors_of[job]
        return table[0], table[1]

    def _bright(self, images: Sequence[Picture]) -> set[int]:
        """Pictures that the released code normalises twice: those of a batch without a pixel in the darker half."""
        bright: set[int] = set()
        for first in range(0, len(images) if self.rules.brightened else 0, BRIGHT):
            batch = range(first, min(first + BRIGHT, len(images)))
            if all(int(self.denoiser.pixels(images[at]).min()) * 2 >= 255 for at in batch):
                bright.update(batch)
        return bright


def decide(
    scorer: DenoisingScorer,
    images: Sequence[Picture],
    texts: Sequence[str],
    cases: Sequence[Pairs],
    *,
    delta: float = 0.05,
    antithetic: bool = True,
    least: int = 4,
    alpha: float | None = None,
    schedule: Schedule | None = None,
) -> list[Decision]:
    """Decide the best pair of every case by a race (`tasks/race.py`): each round is one timestep, spread over the grid, with
    the same noise for all pairs of a case. antithetic: each round is the mean over the noise and its negative.

    Where all pairs of a case have the same picture, the empty text's error cancels and is not computed. delta: probability,
    for each case, of another outcome than that of all rounds. schedule: from `learnt_schedule` with the same scorer, alpha
    and noise on similar cases; most decisions then need far fewer rounds. Errors of a pair that several cases have are
    computed once.
    """
    order = spread(len(scorer.denoiser.times)) if schedule is None else schedule.order.tolist()
    decisions: list[Decision] = []
    for part, table in _tables(scorer, images, texts, cases, order, antithetic, alpha):
        counts = [len(case) for case in part]
        places = order if schedule is None else None
        decisions += race(
            table.ask, counts, len(order), delta=delta, least=least, places=places, schedule=schedule
        )
    return decisions


def learnt_schedule(
    scorer: DenoisingScorer,
    images: Sequence[Picture],
    texts: Sequence[str],
    cases: Sequence[Pairs],
    *,
    antithetic: bool = True,
    alpha: float | None = None,
) -> Schedule:
    """Learn a schedule, the order in which steps are most informative, from cases: all steps of all their pairs are computed,
    and no labels are needed. ValueError for too few cases (`tasks/schedule.py`)."""
    order = list(range(len(scorer.denoiser.times)))
    tables: list[NDArray[np.float64]] = []
    for part, table in _tables(scorer, images, texts, cases, order, antithetic, alpha):
        jobs = [(number, candidate) for number, case in enumerate(part) for candidate in range(len(case))]
        scores = np.stack([table.ask(at, jobs) for at in order], 1)
        tables += np.split(scores, np.cumsum([len(case) for case in part])[:-1])
    return Schedule.learnt(tables)


def _tables(
    scorer: DenoisingScorer,
    images: Sequence[Picture],
    texts: Sequence[str],
    cases: Sequence[Pairs],
    order: Sequence[int],
    antithetic: bool,
    alpha: float | None,
) -> Iterator[tuple[Sequence[Pairs], _Rounds]]:
    """Some cases at a time, and their rounds."""
    alpha = scorer.alpha if alpha is None else alpha
    if np.ptp(scorer.weights) > 0:
        raise ValueError("a race takes every step as one round: it has no weights")
    twice = scorer._bright(images)
    for first in range(0, len(cases), GROUP):
        part = cases[first : first + GROUP]
        places = list(dict.fromkeys(image for case in part for image, _ in case))
        latents = scorer.denoiser.look(images, places, twice)
        shares = [alpha if len({image for image, _ in case}) > 1 else 0.0 for case in part]
        yield (
            part,
            _Rounds(scorer, part, texts, latents, shares, order, (False, True) if antithetic else (False,)),
        )


@dataclass
class _Rounds:
    """Rounds of a race: the scores of the pairs that are still in it. shares: alpha of each case. order: the step of each
    round."""

    scorer: DenoisingScorer
    cases: Sequence[Pairs]
    texts: Sequence[str]
    latents: Latents
    shares: Sequence[float]
    order: Sequence[int]
    turns: Sequence[bool]

    def ask(self, at: int, open_: list[tuple[int, int]]) -> NDArray[np.float64]:
        """Scores [len(open_)] of (case, candidate) at the round's step, averaged over the noise and its negative."""
        step = self.order[at]
        own, empty, share = [], [], []
        for case, candidate in open_:
            image, text = self.cases[case][candidate]
            for turn in self.turns:
                own.append(NoiseQuery(image, self.texts[text], step, turn))
                empty.append(NoiseQuery(image, NOTHING, step, turn))
                share.append(self.shares[case])
        needed = [other for other, some in zip(empty, share) if some]
        jobs = list(dict.fromkeys(own + needed))
        errors = dict(zip(jobs, self.scorer.denoiser.ask(jobs, self.latents)))
        left = self.scorer.lessened(
            np.array([errors[job] for job in own], np.float32),
            np.array([errors.get(job, 0.0) for job in empty], np.float32),
            np.array(share),
        )
        return -left.reshape(len(open_), -1).mean(1)


def telling_weights(errors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights of the steps [S], of mean 1, from errors [cases C S] without labels: the covariance of a step's differences
    between candidates with those of all other steps, over their variance. Equal weights where no step covaries with the
    others."""
    gaps = errors.astype(np.float64) - errors.mean(1, keepdims=True)
    others = gaps.sum(2, keepdims=True) - gaps
    together = (gaps * others).mean((0, 1)).clip(min=0)
    weights = together / np.square(gaps).mean((0, 1)).clip(min=1e-30)
    return weights / weights.mean() if weights.any() else np.ones(errors.shape[2])


def _fitting(bank: Tensor | None, latent: Sequence[int], steps: int, seed: int) -> Tensor:
    """The first S rows of the bank [S C Y X], or noise of the seed. Mistake where the bank has another shape or is too short."""
    if bank is None:
        return seeded_noise(latent, steps, seed)
    if tuple(bank.shape[1:]) != tuple(latent) or len(bank) < steps:
        raise Mistake(
            f"The bank of noise is {list(bank.shape)}.",
            f"This model and grid need {[steps, *latent]}, or more rows.",
            "Give another, or none: the noise is then drawn from the seed.",
        )
    return bank[:steps]


def _groups(pairs: Pairs) -> Iterator[list[int]]:
    """Indices of pairs in groups, those of GROUP pictures at a time."""
    of: dict[int, list[int]] = {}
    for at, (image, _) in enumerate(pairs):
        of.setdefault(image, []).append(at)
    images = list(of)
    for first in range(0, len(images), GROUP):
        yield [at for image in images[first : first + GROUP] for at in of[image]]
