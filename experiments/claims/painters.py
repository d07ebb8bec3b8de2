"""What GAN-INT-CLS claims (Reed et al., 2016, arXiv 1605.05396, sections 4 and 5) on the drawn world.

For each seed one text encoder learns captions of pictures of one thing (a kind and a colour), and a small classifier of kind and colour
learns the same pictures. The four variants of the GAN then learn from the frozen texts, for equally many updates of painter and critic.
One combination of kind and colour in five is in no training picture. Every variant draws the same texts from the same noise, and the
classifier says whether both attributes of the text are in the picture. "blind" is the same pictures, judged by the text of another
combination of which neither attribute is the same.

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- reads: every variant is above its blind row and above chance (one of all combinations).
- cls: the variants with wrong pairs (CLS) draw both attributes more often than those without.
- int: the variants with interpolated texts (INT) draw held-out combinations more often, and pictures of one text that differ more.
- both: GAN-INT-CLS is above the plain GAN in both.

Smaller than the paper by three orders of magnitude: it decides whether an effect shows at this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import pairloom
from experiments.claims import _jobs
from experiments.claims._drawn import Pictures, look
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom import model as models
from pairloom.blocks.tensors import tensors_of
from pairloom.data.characters import character_tokens
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.data.pair import seed_of
from pairloom.model import Model
from pairloom.systems.reed_gan import ALPHABET
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.train.starting import with_config
from pairloom.world import Scene, caption, draw
from pairloom.world.layout import sample
from pairloom.world.level import Level

LEVEL = Level(
    kinds=("ball", "star", "house", "tree", "fish", "car"), colours=("red", "yellow", "green", "blue", "purple", "black"),
    patterns=("plain",), places=("plain",), things=(1.0,), relations=(), sizes=False, groups=0.0,
)  # fmt: skip
Combination = tuple[int, int]  # a kind and a colour of the level, by their places
ALL: tuple[Combination, ...] = tuple(product(range(len(LEVEL.kinds)), range(len(LEVEL.colours))))
HELD_OUT = tuple(one for one in ALL if (one[0] + 2 * one[1]) % 5 == 0)
KNOWN = tuple(one for one in ALL if one not in HELD_OUT)
VARIANTS = {
    "gan": (False, False),
    "gan-cls": (True, False),
    "gan-int": (False, True),
    "gan-int-cls": (True, True),
}
START, JUDGE, CHANCE, BLIND = "texts", "classifier", "chance", " (blind)"
MATCH = ("known", "held out")
NUMBER = "(no number)"


def _reads(name: str) -> Claim:
    contrasts = tuple(Contrast(name, old, MATCH, NUMBER) for old in (name + BLIND, CHANCE))
    return Claim(f"reads, {name}", f"{name.upper()} draws what the text says.", "(ours)", contrasts)


CLAIMS = (
    *map(_reads, VARIANTS),
    Claim(
        "cls", "Wrong pairs teach the discriminator to match pictures with texts.", "section 4.2",
        tuple(Contrast(new, old, MATCH, NUMBER) for new, old in (("gan-cls", "gan"), ("gan-int-cls", "gan-int"))),
    ),
    Claim(
        "int", "Interpolated texts fill the gaps between those of the training set.", "section 4.3",
        tuple(
            Contrast(new, old, ("held out", "diversity"), NUMBER)
            for new, old in (("gan-int", "gan"), ("gan-int-cls", "gan-cls"))
        ),
    ),
    Claim(
        "both", "GAN-INT-CLS is better than the plain GAN.", "section 5.1",
        (Contrast("gan-int-cls", "gan", (*MATCH, "diversity"), NUMBER),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs: training pictures; drawn: pictures of each combination that are judged. width: of painter and
    critic; embedding: of texts. steps: of the GANs; start: of the text encoder and of the classifier."""

    pairs: int = 3000
    drawn: int = 16
    size: int = 32
    width: int = 16
    embedding: int = 64
    batch: int = 64
    steps: int = 1500
    start: int = 400
    lr: float = 5e-4

    def __post_init__(self) -> None:
        if self.drawn < 2 or self.pairs < 2:
            raise ValueError("there are at least 2 pictures to learn from, and 2 to compare")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: what all variants share; then the variants."""
    return [[START, JUDGE], [name for name in VARIANTS if name in {one.removesuffix(BLIND) for one in named}]]


def results(outcomes: dict[tuple[str, int], Any], setting: Setting) -> dict[tuple[str, int], Any]:
    """The outcomes as rows of the conditions: each variant, blind, and chance."""
    rows: dict[tuple[str, int], Any] = {}
    for (name, seed), values in outcomes.items():
        if name in VARIANTS:
            rows[name, seed] = {key: values[key] for key in (*MATCH, "diversity")}
            rows[name + BLIND, seed] = {key: values[key + BLIND] for key in MATCH}
            rows[CHANCE, seed] = {key: [1 / len(ALL)] * len(values[key]) for key in MATCH}
    return rows


def make(job: Job) -> dict[str, Any]:
    """Train the text encoder, the classifier, or a variant, and measure it."""
    if job.name == JUDGE:
        return _train_classifier(job)
    return _train_texts(job) if job.name == START else _train_variant(job)


# -- data --------------------------------------------------------------------------------------------------------------


def combination(scene: Scene) -> Combination:
    """Kind and colour of the one thing of a scene."""
    return LEVEL.kinds.index(scene.things[0].kind), LEVEL.colours.index(scene.things[0].colour)


def pictures(count: int, seed: int, part: str, size: int, among: Sequence[Combination]) -> Pictures:
    """The first `count` scenes of a part of a seed's world with these combinations, drawn at twice the size and averaged."""
    scenes: list[Scene] = []
    index = 0
    while len(scenes) < count:
        scene = sample(seed_of("claims painters", part, seed, index), LEVEL)
        scenes += [scene] if combination(scene) in among else []
        index += 1
    large = np.stack([draw(scene, 2 * size) for scene in scenes]).astype(np.float32)
    small = large.reshape(count, size, 2, size, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return Pictures(small, tuple(caption(scene, "terse") for scene in scenes), tuple(scenes))


@lru_cache(maxsize=1)
def _learn(s: Setting, seed: int) -> Pictures:
    return pictures(s.pairs, seed, "learn", s.size, KNOWN)


def _text(one: Combination) -> str:
    return f"{LEVEL.colours[one[1]]} {LEVEL.kinds[one[0]]}"


# -- models ------------------------------------------------------------------------------------------------------------


def _batches(model: Model, shown: Pictures) -> Any:
    images = InMemoryImages(shown.pixels, model.pixels.mean, model.pixels.std)
    table = TextTable.of(model.tokens, [[text] for text in shown.texts], model.config.length)
    places = np.array([ALL.index(combination(scene)) for scene in shown.scenes])
    return pair_loader(
        images, table, ids=places
    )  # pictures of one combination are no negatives of each other


def _train(model: Model, shown: Pictures, part: str, s: Setting, **own: Any) -> None:
    options = dict(min_lr=0.0, warmup=0, weight_decay=0.0, clip=0.0, save_every=0, threads=1) | own
    settings = Settings(batch=min(s.batch, s.pairs), **options)
    fit(model.system, _batches(model, shown), settings, part=part)


def _train_texts(job: Job) -> dict[str, Any]:
    s = job.setting
    sizes = dict(
        image_size=s.size, length=60, character_widths="64,64,64", embedding=s.embedding, noise=16, text_width=32,
        painter_width=s.width, critic_width=s.width,
    )  # fmt: skip
    words = [f"{key}={value}" for key, value in sizes.items()]
    model = models.build("reed_gan", character_tokens(ALPHABET), "tiny", words, job.seed)
    _train(model, _learn(s, job.seed), "text", s, lr=2e-3, steps=s.start, seed=job.seed)
    models.save(replace(model, about={**model.about, "parts": ["text"]}), job.folder / START)
    return {"own text is best": _retrieved(model, s, job.seed)}


@torch.no_grad()
def _retrieved(model: Model, s: Setting, seed: int) -> list[float]:
    """Whether each new picture of a known combination fits its own text best among those of all combinations."""
    shown = pictures(200, seed, "held", s.size, KNOWN)
    pooled = model.system.image["network"](look(model, shown.pixels)).mean((2, 3))
    images = model.system.image["project"](pooled) if "project" in model.system.image else pooled
    texts = model.system.text(*model.batch(texts=[_text(one) for one in ALL]).text())
    own = [ALL.index(combination(scene)) for scene in shown.scenes]
    return (images @ texts.T).argmax(1).eq(torch.tensor(own)).float().tolist()


def _train_variant(job: Job) -> dict[str, Any]:
    s, seed = job.setting, job.seed
    begun = pairloom.load(job.folder / START)
    mismatched, interpolate = VARIANTS[job.name]
    model = with_config(begun, replace(begun.config, mismatched=mismatched, interpolate=interpolate))
    _train(
        model, _learn(s, seed), "gan", s, lr=s.lr, steps=s.steps, seed=seed, optimiser="adam", betas=(0.5, 0.999),
        schedule="linear",
    )  # fmt: skip
    models.save(model, job.folder / f"model {job.name}")
    return measure(model, classifier(job), s)


# -- the judge ---------------------------------------------------------------------------------------------------------


class AttributeClassifier(nn.Module):
    """Kind and colour of the thing in a picture: convolutions, their maximum, a head for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 64)
        stages = [
            layer
            for before, after in zip(widths, widths[1:])
            for layer in (nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU())
        ]
        self.stages = nn.Sequential(*stages)
        self.heads = nn.ModuleList([nn.Linear(64, len(LEVEL.kinds)), nn.Linear(64, len(LEVEL.colours))])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the kinds [B K] and of the colours [B C] of pictures [B 3 S S] in [-1, 1]."""
        features = self.stages(images).amax((2, 3))
        return self.heads[0](features), self.heads[1](features)

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Kind and colour of each picture [B 2]."""
        return torch.stack([logits.argmax(1) for logits in self(images)], 1)


def _scaled(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def _train_classifier(job: Job) -> dict[str, Any]:
    """It learns all combinations, the held-out ones too, under noise, since drawn pictures are not clean."""
    s = job.setting
    shown = pictures(s.pairs, job.seed, "judge", s.size, ALL)
    images, labels = _scaled(shown.pixels), torch.tensor([combination(scene) for scene in shown.scenes])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        network = AttributeClassifier()
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(s.start):
            rows = torch.randint(len(images), (s.batch,))
            noisy = images[rows] + 0.1 * torch.randn(len(rows), *images.shape[1:])
            losses = [F.cross_entropy(logits, labels[rows, at]) for at, logits in enumerate(network(noisy))]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()
            optimiser.step()
    network.eval()
    job.folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors_of(network), job.folder / f"{JUDGE}.safetensors")
    held = pictures(200, job.seed, "judged", s.size, ALL)
    right = network.read(_scaled(held.pixels)) == torch.tensor([combination(scene) for scene in held.scenes])
    return {"held-out accuracy": right.all(1).float().tolist()}


def classifier(job: Job) -> AttributeClassifier:
    """The trained classifier of a seed."""
    network = AttributeClassifier().eval()
    network.load_state_dict(load_file(job.folder / f"{JUDGE}.safetensors"))
    return network


@torch.no_grad()
def measure(model: Model, judge: AttributeClassifier, s: Setting) -> dict[str, list[float]]:
    """For each drawn picture of a known and of a held-out combination: whether both attributes are in it, and whether both of another
    combination are ("blind"). For each combination: the mean distance of its pictures from each other (root mean square of pixels
    in [-1, 1])."""
    values: dict[str, list[float]] = {"diversity": []}
    for name, among in zip(MATCH, (KNOWN, HELD_OUT)):
        values |= {name: [], name + BLIND: []}
        for one in among:
            batch = model.batch(texts=[_text(one)] * s.drawn)
            images = model.system.draw(batch, seeds=range(s.drawn))
            seen = judge.read(images)
            other = ((one[0] + 1) % len(LEVEL.kinds), (one[1] + 1) % len(LEVEL.colours))
            for key, text in ((name, one), (name + BLIND, other)):
                values[key] += (seen == torch.tensor(text)).all(1).float().tolist()
            apart = torch.pdist(images.flatten(1)) / images[0].numel() ** 0.5
            values["diversity"].append(float(apart.mean()))
    return values


run = _jobs.runner(CLAIMS, stages, make, results)
