"""BLIP's own claims (Li et al. 2022, arXiv 2201.12086, tables 1 to 4) on the drawn world, where the truth is known.

One image tower is trained by contrast on other clean pairs, and every model starts from it (the paper's start from
ImageNet). For each seed: a MED is pre-trained on trusted and web pairs; captioner and filter are fine-tuned from it on
the trusted pairs, apart and as one model; the captioner writes one text for each web picture, and the filter drops texts with
P(match) < 1/2; new models are then trained on the pairs of each condition, all for equally many steps. Every model is
measured without fine-tuning, on held-out clean pairs (the paper fine-tunes on COCO).

It is smaller than the paper by five orders of magnitude, with a residual stem, without momentum teacher and queue (a run is
shorter than their memory), with contrast alone first. It decides whether an effect is visible at this size, not whether the
paper is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

import pairloom
from experiments.claims import _drawn, _jobs
from experiments.claims._drawn import Pictures
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.tasks.decode import Writing
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

RAW, BOTH = "no CapFilt", "C+F"
LEARNT = ("R@1", "CIDEr-D", "facts true")
CLAIMS = (
    Claim(
        "capfilt",
        "Captioner and filter each improve training on web pairs, and together they help more than either.",
        "table 1",
        (
            Contrast(BOTH, RAW, LEARNT, "TR@1 80.6 / 78.4, CIDEr 129.7 / 127.8"),
            Contrast("C", RAW, LEARNT, "TR@1 79.7 / 78.4, CIDEr 128.9 / 127.8"),
            Contrast("F", RAW, LEARNT, "TR@1 79.1 / 78.4, CIDEr 128.2 / 127.8"),
            Contrast(BOTH, "C", LEARNT, "TR@1 80.6 / 79.7, CIDEr 129.7 / 128.9"),
            Contrast(BOTH, "F", LEARNT, "TR@1 80.6 / 79.1, CIDEr 129.7 / 128.2"),
        ),
    ),
    Claim(
        "nucleus",
        "Captions by nucleus sampling are better for training than those of beam search, although more of them are noise.",
        "table 2",
        (
            Contrast(BOTH, "C+F beam", LEARNT, "TR@1 80.6 / 79.6, CIDEr 129.7 / 128.9"),
            Contrast("captions by nucleus", "captions by beam", ("rejected",), "noise 25 % / 19 %"),
        ),
    ),
    Claim(
        "sharing",
        "Sharing all but self-attention between encoder and decoder beats sharing more, and not sharing.",
        "table 3",
        (
            Contrast(RAW, "share all", LEARNT, "TR@1 78.4 / 77.3, CIDEr 127.8 / 125.9"),
            Contrast(RAW, "share all but cross-attention", LEARNT, "TR@1 78.4 / 77.5, CIDEr 127.8 / 126.1"),
            Contrast(RAW, "share none", LEARNT, "TR@1 78.4 / 78.3, CIDEr 127.8 / 127.4"),
        ),
    ),
    Claim(
        "decoupled",
        "A captioner and a filter that share parameters confirm each other: fewer captions are rejected, and models are worse.",
        "table 4",
        (
            Contrast(BOTH, "C+F shared", LEARNT, "TR@1 80.6 / 79.8, CIDEr 129.7 / 129.0"),
            Contrast("captions by nucleus", "captions by shared", ("rejected",), "noise 25 % / 8 %"),
        ),
    ),
)
SHARING = {f"share {name}": name for name in ("all", "all but cross-attention", "none")}
START = "start"  # the job that trains the image tower, once for all seeds
TEXTS = "texts"  # the job with all captions and judgements of a seed
WRITERS = {"nucleus": "captioner", "beam": "captioner", "shared": "shared"}
# condition -> the writer of the added captions (None: none), and whether texts are filtered
MIXTURES: dict[str, tuple[str | None, bool]] = {
    "F": (None, True),
    "C": ("nucleus", False),
    BOTH: ("nucleus", True),
    "C+F beam": ("beam", True),
    "C+F shared": ("shared", True),
}


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs: of the web, a share `noise` of them wrong; trusted: clean ones for fine-tuning (and in every
    training set). held: clean ones for measuring. steps: of each training, the first `first` of them with contrast alone;
    fine: of each fine-tuning. start_pairs, start_steps: of the initial image tower.
    """

    pairs: int = 3000
    trusted: int = 600
    held: int = 400
    noise: float = 0.4
    size: int = 32
    width: int = 96
    depth: int = 2
    batch: int = 64
    steps: int = 500
    first: int = 100
    lr: float = 1e-3
    fine: int = 500
    fine_lr: float = 5e-4
    start_pairs: int = 6000
    start_steps: int = 1200

    def __post_init__(self) -> None:
        if min(self.pairs, self.trusted, self.held, self.start_pairs) < 2 or not 0 <= self.noise < 1:
            raise ValueError("there are at least 2 pairs of each kind, noise is a share below 1")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: the image tower, the models on raw pairs, their captions and judgements, and the models on these."""
    late = [name for name in MIXTURES if name in named]
    written = bool(late) or any(name.startswith("captions by") for name in named)
    return [[START], [RAW] + [name for name in SHARING if name in named], [TEXTS] if written else [], late]


def results(outcomes: dict[tuple[str, int], Any], setting: Setting) -> dict[tuple[str, int], Any]:
    """The outcomes, and for each writer which of its captions were rejected."""
    combined = dict(outcomes)
    for (name, seed), values in outcomes.items():
        if name == TEXTS:
            for way, captions in values["captions"].items():
                combined[f"captions by {way}", seed] = {
                    "rejected": [float(not kept) for kept in captions["kept"]]
                }
    return combined


def make(job: Job) -> dict[str, Any]:
    return {START: _start, TEXTS: _texts}.get(job.name, _condition)(job)


# -- data --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _data(setting: Setting, seed: int) -> tuple[Pictures, Pictures, Pictures]:
    """Trusted, web and held-out pairs of a seed. Seeds of worlds differ, so that they share no scene."""
    s = setting
    trusted, web, held = (seed_of("claims blip", seed, part) >> 32 for part in ("trusted", "web", "held"))
    return (
        _drawn.pictures(s.trusted, trusted, s.size),
        _drawn.pictures(s.pairs, web, s.size, s.noise),
        _drawn.pictures(s.held, held, s.size),
    )


def _mixture(job: Job) -> list[list[str]]:
    """The training texts of a condition for every picture, trusted pictures first."""
    trusted, web, _ = _data(job.setting, job.seed)
    texts = [[text] for text in web.texts]
    if job.name in MIXTURES:
        writer, filters = MIXTURES[job.name]
        record = replace(job, name=TEXTS).load_result()
        captions = record["captions"][writer] if writer else None
        kept = (
            record["web kept"]["shared" if writer == "shared" else "filter"]
            if filters
            else [True] * len(texts)
        )
        for row, own in enumerate(texts):
            texts[row] = own if kept[row] else []
            if captions and (captions["kept"][row] or not filters):
                texts[row] = [*texts[row], captions["text"][row]]
    return [[text] for text in trusted.texts] + texts


# -- models ------------------------------------------------------------------------------------------------------------


def _shape(s: Setting) -> list[str]:
    sizes = dict(image_size=s.size, patch=8, image_width=s.width, image_depth=0, width=s.width, depth=s.depth)
    rest = dict(
        stem="residual", heads=4, embedding=64, length=16, positions=16, dropout=0.0, queue=0, momentum=0
    )
    return [f"{key}={value}" for key, value in {**sizes, **rest}.items()]


def _start(job: Job) -> dict[str, Any]:
    """Train the image tower that every model starts from, by contrast with the clean captions of a world of its own."""
    s = job.setting
    pairs = _drawn.pictures(s.start_pairs, seed_of("claims blip", START) >> 32, s.size)
    model = models.build("blip", Tokens.train(pairs.texts, 300), "tiny", [*_shape(s), "itm=0", "lm=0"])
    _train(model, pairs.pixels, [[text] for text in pairs.texts], s, s.start_steps, 1.5 * s.lr, 0)
    models.save(model, job.out / "image-tower")
    return _drawn.measure(model, _data(s, 0)[2])


def _condition(job: Job) -> dict[str, Any]:
    """Train one new model and measure it. The first one of a seed is saved: captioner and filter start from it."""
    s = job.setting
    trusted, web, held = _data(s, job.seed)
    texts = _mixture(job)
    tokens = Tokens.train((*trusted.texts, *web.texts), 300)
    first = s.first / max(1, sum(map(bool, texts)) // s.batch)
    sharing = SHARING.get(job.name, "all but self-attention")
    settings = [*_shape(s), f"sharing={sharing}", f"contrast_first={first}"]
    model = models.build("blip", tokens, "tiny", settings, job.seed)
    start = pairloom.load(job.out / "image-tower").system
    model.system.towers.image.load_state_dict(start.towers.image.state_dict())
    _train(model, np.concatenate([trusted.pixels, web.pixels]), texts, s, s.steps, s.lr, job.seed)
    if job.name == RAW:
        models.save(model, job.folder / "base")
    return _drawn.measure(model, held)


def _train(
    model: Any,
    pixels: np.ndarray,
    texts: Sequence[Sequence[str]],
    s: Setting,
    steps: int,
    lr: float,
    seed: int,
) -> None:
    table = TextTable.of(model.tokens, texts, model.config.length)
    loader = pair_loader(InMemoryImages(pixels, model.pixels.mean, model.pixels.std, flip=0.5), table)
    settings = Settings(
        lr=lr, min_lr=0.0, batch=min(s.batch, len(loader.rows)), steps=steps, warmup=0.1, betas=(0.9, 0.98),
        precision="bf16", seed=seed, save_every=0, threads=1,
    )  # fmt: skip
    fit(model.system, loader, settings)


def _fine(job: Job, losses: str) -> Any:
    """The pre-trained model, fine-tuned on the trusted pairs with these losses alone."""
    model = pairloom.load(job.folder / "base")
    weights = {name: 1.0 if name in losses.split() else 0.0 for name in ("itc", "itm", "lm")}
    system = type(model.system)(replace(model.config, contrast_first=0.0, **weights))
    system.load_state_dict(model.system.state_dict())
    model.system = system
    trusted = _data(job.setting, job.seed)[0]
    _train(
        model,
        trusted.pixels,
        [[text] for text in trusted.texts],
        job.setting,
        job.setting.fine,
        job.setting.fine_lr,
        job.seed,
    )
    return model


def _texts(job: Job) -> dict[str, Any]:
    """Captions of every web picture by each writer, and which of them and of the web's own texts each filter keeps."""
    web = _data(job.setting, job.seed)[1]
    roles = {
        "captioner": _fine(job, "lm"),
        "filter": _fine(job, "itc itm"),
        "shared": _fine(job, "itc itm lm"),
    }
    record: dict[str, Any] = {"captions": {}, "web kept": {}, "web true": web.true(web.texts)}
    for role in ("filter", "shared"):
        record["web kept"][role] = _kept(roles[role], web, web.texts)
    for way, role in WRITERS.items():
        length = roles[role].config.length
        writing = Writing("beam" if way == "beam" else "nucleus", max_length=length, min_length=3)
        dice = [seed_of("caption", job.seed, row) for row in range(len(web.texts))]
        texts = _drawn.write(roles[role], web.pixels, writing, dice)
        kept = _kept(roles["shared" if way == "shared" else "filter"], web, texts)
        record["captions"][way] = {"text": texts, "kept": kept, "true": web.true(texts)}
    return record


def _kept(judge: Any, web: Pictures, texts: Sequence[str]) -> list[bool]:
    """The filter: P(match) of the match head above one half, as the paper's author states; the cosine is not used."""
    return [chance > 0.5 for chance in _drawn.matches(judge, web.pixels, texts)]


run = _jobs.runner(CLAIMS, stages, make, results, once=[START])
