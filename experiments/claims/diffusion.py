"""What DiffusionITM and HardNeg-DiffusionITM claim (Krojer et al., 2023, arXiv 2305.16397) on the drawn world.

For each seed a latent diffusion model of pixels learns small scenes of one or two things from nothing; adapters are then
taught from it with hard negatives (HardNeg) and on the same batches without them (NoNeg); a CLIP learns the same pairs for
as many steps. All are measured on the same held-out pictures: ten texts of a picture, ten pictures of a text (less the
error of the empty text, and raw), and pairs of scenes in which two things have exchanged their colours.

Rules, fixed before anything was run (a rule holds where the 95 % interval of the difference lies above 0):
- prior: among pictures the normalised error is right more often than chance and than the raw one; the raw one is less than
  ten points above chance.
- hard negatives: HardNeg binds better than the model it began as, and than NoNeg; among ten it loses less than five points.
- binding: the diffusion model tells exchanged colours apart more often than CLIP.

Smaller than the paper by five orders of magnitude: it decides whether an effect shows at this size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import pairloom
from experiments.claims import _jobs
from experiments.claims._drawn import Pictures, look
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.negatives import MIX, negative_loader
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.model import Model
from pairloom.tasks.denoise import DenoisingScorer
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.train.starting import with_config
from pairloom.world import Scene, caption, draw
from pairloom.world.claim import is_true
from pairloom.world.hard_negatives import drawn_negatives
from pairloom.world.layout import sample
from pairloom.world.level import Level
from pairloom.world.read import parse

LEVEL = Level(
    kinds=("ball", "star", "house", "tree", "fish", "car"),
    colours=("red", "yellow", "green", "blue", "purple", "pink", "black"),
    patterns=("plain",), places=("plain",), things=(0.3, 0.7), relations=("left of", "above"), sizes=False, groups=0.0,
)  # fmt: skip
BASE, NONEG, HARDNEG, CLIP = "diffusion", "NoNeg", "HardNeg", "CLIP"
CHANCE, LIMIT, LOSS = "chance", "chance plus ten points", "diffusion less five points"
BINDING = ("bound texts", "bound pictures")
CLAIMS = (
    Claim(
        "prior",
        "Among pictures of a text the raw error is nearly at chance; minus the error of the empty text it is not.",
        "section 3.1",
        (
            Contrast(BASE, "raw", ("pictures",), "(no number recovered)"),
            Contrast(BASE, CHANCE, ("texts", "pictures"), "(no number recovered)"),
            Contrast(LIMIT, "raw", ("pictures",), "raw near chance"),
        ),
    ),
    Claim(
        "hard negatives",
        "Adapters that are trained to raise the error of wrong pairs improve binding, and keep the other abilities.",
        "section 3.2",
        (
            Contrast(HARDNEG, BASE, BINDING, "(no number recovered)"),
            Contrast(HARDNEG, NONEG, BINDING, "(no number recovered)"),
            Contrast(HARDNEG, LOSS, ("texts", "pictures"), "(no number recovered)"),
        ),
    ),
    Claim(
        "binding",
        "A diffusion model distinguishes exchanged attributes where CLIP does not.",
        "section 5",
        (Contrast(BASE, CLIP, BINDING, "(no number recovered)"),),
    ),
)
FROM_BASE = {"raw": BASE, CHANCE: BASE, LIMIT: BASE, LOSS: BASE}  # conditions that need no model of their own
EARLY, LATE = (BASE, CLIP), (NONEG, HARDNEG)


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs: for training; held: number of held-out pictures, and of pairs of scenes with exchanged
    colours. size: of pictures; width: of CLIP. steps: of diffusion model and CLIP; fine: of adapters, of rank `rank`. times:
    number of timesteps of a score. ways: candidates of a choice.
    """

    pairs: int = 4000
    held: int = 100
    size: int = 16
    width: int = 64
    batch: int = 64
    steps: int = 1300
    lr: float = 3e-3
    clip_lr: float = 1e-3
    fine: int = 250
    fine_lr: float = 5e-4
    rank: int = 8
    times: int = 20
    ways: int = 10

    def __post_init__(self) -> None:
        if self.held < self.ways or self.pairs < 2 or self.size % 8:
            raise ValueError(
                "as many pictures as ways are held out, at least 2 are learned from, size is a multiple of 8"
            )


def stages(named: set[str]) -> list[list[str]]:
    """Stages: the model that adapters start from, and the other models; then the adapters."""
    wanted = {FROM_BASE.get(name, name) for name in named} | {BASE}
    return [[name for name in names if name in wanted] for names in (EARLY, LATE)]


def derived(
    outcomes: Mapping[tuple[str, int], Any], ways: int
) -> dict[tuple[str, int], dict[str, list[float]]]:
    """The conditions that are numbers of the diffusion model itself, shifted by an allowance, or chance."""
    combined: dict[tuple[str, int], dict[str, list[float]]] = {}
    for (name, seed), values in outcomes.items():
        if name != BASE:
            continue
        kept = {key: values[key] for key in ("texts", "pictures")}
        combined["raw", seed] = {"pictures": values["pictures raw"]}
        combined[LOSS, seed] = {key: [one - 0.05 for one in some] for key, some in kept.items()}
        for limit, more in ((CHANCE, 0.0), (LIMIT, 0.1)):
            combined[limit, seed] = {key: [1 / ways + more] * len(some) for key, some in kept.items()}
    return combined


def make(job: Job) -> dict[str, list[float]]:
    """Train one model and measure it. The diffusion model is saved, since the adapters start from it."""
    model = {BASE: _base, CLIP: _clip}.get(job.name, _adapters)(job)
    if job.name == BASE:
        models.save(model, job.folder / BASE)
    return measure(model, job.setting, job.seed)


# -- data --------------------------------------------------------------------------------------------------------------


def pictures(scenes: Sequence[Scene], size: int) -> Pictures:
    """Pictures of scenes, drawn at twice the size and averaged, with their terse captions."""
    large = np.stack([draw(scene, 2 * size) for scene in scenes]).astype(np.float32)
    small = large.reshape(len(scenes), size, 2, size, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return Pictures(small, tuple(caption(scene, "terse") for scene in scenes), tuple(scenes))


def scenes(
    count: int, seed: int, part: str, fits: Callable[[Scene], bool] = lambda scene: True
) -> list[Scene]:
    """The first `count` fitting scenes of a part of a seed's world; parts and seeds share no scene."""
    fitting: list[Scene] = []
    index = 0
    while len(fitting) < count:
        scene = sample(seed_of("claims diffusion", part, seed, index), LEVEL)
        fitting += [scene] if fits(scene) else []
        index += 1
    return fitting


def two_sorts(scene: Scene) -> bool:
    """Whether a scene has two things of different kind and colour."""
    return len(scene.things) == 2 and all(
        len({getattr(thing, name) for thing in scene.things}) == 2 for name in ("kind", "colour")
    )


def exchanged(scene: Scene) -> Scene:
    """The scene with the colours of its two things exchanged."""
    one, two = scene.things
    return replace(scene, things=(replace(one, colour=two.colour), replace(two, colour=one.colour)))


@lru_cache(maxsize=1)
def _training_pictures(setting: Setting, seed: int) -> Pictures:
    return pictures(scenes(setting.pairs, seed, "learn"), setting.size)


def choices(held: Pictures, ways: int, seed: int) -> NDArray[np.int64]:
    """Candidates of each row [n ways]: itself first, then others for which neither text is true of the other picture."""
    claims = [parse(text) for text in held.texts]
    true = np.array([[is_true(claim, scene) for claim in claims] for scene in held.scenes])
    random = np.random.default_rng(seed_of("claims diffusion", "choices", seed))
    rows = []
    for row in range(len(claims)):
        free = np.flatnonzero(~(true[row] | true[:, row]))
        rows.append([row, *random.choice(free, ways - 1, replace=False)])
    return np.array(rows)


# -- models ------------------------------------------------------------------------------------------------------------


def _base(job: Job) -> Model:
    s, pictures = job.setting, _training_pictures(job.setting, job.seed)
    sides = [f"image_size={s.size}"]
    model = models.build("latent_diffusion", Tokens.train(pictures.texts, 300), "drawn", sides, job.seed)
    _train(
        model,
        pair_loader(_held(model, pictures), _table(model, pictures)),
        s.steps,
        s,
        s.lr,
        job.seed,
        ema=0.98,
    )
    return model


def _clip(job: Job) -> Model:
    s, pictures = job.setting, _training_pictures(job.setting, job.seed)
    sizes = dict(
        image_size=s.size, patch=4, image_width=s.width, image_depth=2, image_heads=4, width=s.width, depth=2, heads=4,
        embedding=s.width, length=16,
    )  # fmt: skip
    words = [f"{key}={value}" for key, value in sizes.items()]
    model = models.build("clip", Tokens.train(pictures.texts, 300), "tiny", words, job.seed)
    _train(
        model, pair_loader(_held(model, pictures), _table(model, pictures)), s.steps, s, s.clip_lr, job.seed
    )
    return model


def _adapters(job: Job) -> Model:
    """Train adapters on the seed's diffusion model, with the released mix of negatives or without negatives."""
    s, pictures = job.setting, _training_pictures(job.setting, job.seed)
    base = pairloom.load(job.folder / BASE)
    model = with_config(base, replace(base.config, rank=s.rank))
    mix = MIX if job.name == HARDNEG else {}
    rows = drawn_negatives(pictures.scenes, "terse")
    batches = negative_loader(_held(model, pictures), rows, model.tokens, model.config.length, mix)
    _train(model, batches, s.fine, s, s.fine_lr, job.seed, schedule="constant", warmup=0)
    return model


def _held(model: Model, pictures: Pictures) -> InMemoryImages:
    return InMemoryImages(pictures.pixels, model.pixels.mean, model.pixels.std)


def _table(model: Model, pictures: Pictures) -> TextTable:
    return TextTable.of(model.tokens, [[text] for text in pictures.texts], model.config.length)


def _train(model: Model, batches: Any, steps: int, s: Setting, lr: float, seed: int, **more: Any) -> None:
    options = dict(min_lr=0.0, warmup=0.05, weight_decay=0.01, save_every=0, threads=1) | more
    settings = Settings(lr=lr, batch=min(s.batch, s.pairs), steps=steps, seed=seed, **options)  # type: ignore[arg-type]
    fit(model.system, batches, settings)


# -- measures ----------------------------------------------------------------------------------------------------------


def measure(model: Any, s: Setting, seed: int) -> dict[str, list[float]]:
    """Measure a model. For each held-out picture: whether its own text has the best score among `ways`, and whether it is the
    best picture for its text ("pictures raw": without the empty text). For each pair of scenes with exchanged colours: the
    share of its two pictures, and of its two texts, that are matched correctly."""
    held = pictures(scenes(s.held, seed, "held"), s.size)
    table = choices(held, s.ways, seed)
    to_text = [(int(row[0]), int(other)) for row in table for other in row]
    to_picture = [(int(other), int(row[0])) for row in table for other in row]
    first = scenes(s.held, seed, "exchanged", two_sorts)
    both = pictures([*first, *map(exchanged, first)], s.size)
    four = [
        (image + a * s.held, image + b * s.held) for image in range(s.held) for a in (0, 1) for b in (0, 1)
    ]
    raw, less = _scores(model, held, to_text + to_picture, s.times)
    texts, among = less.reshape(2, s.held, s.ways)
    _, square = (some.reshape(s.held, 2, 2) for some in _scores(model, both, four, s.times))
    own = square[:, [0, 1], [0, 1]]
    return {
        "texts": _first(texts),
        "pictures": _first(among),
        "pictures raw": _first(raw.reshape(2, s.held, s.ways)[1]),
        "bound texts": _wins(own, square[:, [0, 1], [1, 0]]),
        "bound pictures": _wins(own, square[:, [1, 0], [0, 1]]),
    }


def _first(scores: NDArray[np.float64]) -> list[float]:
    """Credit of each row: 1 where the first is the best, shared where it ties with others."""
    best = scores == scores.max(1, keepdims=True)
    return (best[:, 0] / best.sum(1)).tolist()


def _wins(own: NDArray[np.float64], other: NDArray[np.float64]) -> list[float]:
    """Credit of each pair: mean over its two questions, right 1, tied one half."""
    return ((own > other) + (own == other) / 2).mean(1).tolist()


@torch.no_grad()
def _scores(
    model: Any, shown: Pictures, pairs: Sequence[tuple[int, int]], times: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores [P]: raw, and minus the empty text's error; for a model that embeds both are the cosine."""
    if hasattr(model.system, "embed_image"):
        batch = replace(model.batch(texts=shown.texts), images=look(model, shown.pixels)[:, None])
        cosines = (model.system.embed_image(batch) @ model.system.embed_text(batch).T).double().numpy()
        values = np.array([cosines[image, text] for image, text in pairs])
        return values, values
    images = [Image.fromarray(one) for one in shown.pixels]
    own, empty = DenoisingScorer(model, steps=times, rows=128).errors(images, shown.texts, pairs)
    return -own.mean(1, dtype=np.float64), (empty - own).mean(1, dtype=np.float64)


run = _jobs.runner(CLAIMS, stages, make, lambda outcomes, setting: outcomes | derived(outcomes, setting.ways))
