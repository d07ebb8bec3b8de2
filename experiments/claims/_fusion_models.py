"""The fusion encoders at one small size, how they learn, and how they are measured beside themselves with wrong pictures.

B rows, R regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.claims import _fusion_data as data
from experiments.claims._fusion_data import Exercise, SceneColumn, Scenes
from pairloom import model as models
from pairloom.blocks.tensors import put_shared, put_tensors, tensors_of
from pairloom.data.batch import Batch, Texts
from pairloom.data.datasets.questions import AnswerColumn
from pairloom.data.loader import Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.records import Questions, Regions
from pairloom.data.tokens import Tokens
from pairloom.model import Model
from pairloom.objectives.masked import mask_words, masked_loss
from pairloom.objectives.regions import mask_regions
from pairloom.systems import uniter
from pairloom.tasks.judge import WAYS
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.world.regions import CLASSES, FEATURES

REGIONS = dict(features=FEATURES, classes=CLASSES)
PIXELS = dict(image_size=32, patch=8)
SIZES: Mapping[str, dict[str, Any]] = {  # beside `width`, which all share
    "vilbert": dict(REGIONS, depth=2, visual_depth=1, visual_heads=4, visual_growth=2, exchanges=1, shared_heads=4),
    "lxmert": dict(REGIONS, attributes=0, depth=1, region_depth=1, cross_depth=1),
    "vl_bert": dict(REGIONS, depth=4, coordinates=32),
    "uniter": dict(REGIONS, depth=4, together=False, mix=(2.0, 2.0, 1.0, 0.0, 1.0)),
    "pixel_bert": dict(PIXELS, depth=4, sampled=12),
    "vlp": dict(REGIONS, depth=4, most=4),
    "videobert": dict(depth=4, codes=data.VISUAL_WORDS, most=data.CLIPS, subsample=0),
    "interbert": dict(REGIONS, depth=2, stream_depth=1, image_heads=4, pooled=64),
    "beit3": dict(PIXELS, depth=4, codes=data.LEVELS**3, embedding=64, caption=0.0),
    "albef": dict(PIXELS, depth=2, fusion_depth=2, image_depth=2, image_heads=4, embedding=64, queue=0, momentum=0.0),
    "simvlm": dict(PIXELS, depth=2, decoder_depth=2, answer_length=6),
    "vl_t5": dict(features=FEATURES, regions=4, depth=2, answer_length=6, sentinels=4),
    "lemon": dict(features=FEATURES, depth=4),
}  # fmt: skip
WIDER = {"uniter": 4, "vl_bert": 4}  # so that they have as many parameters as the two-stream models
LISTED = ("vilbert", "lxmert", "vl_bert", "uniter", "pixel_bert", "vlp", "interbert")  # answer from a list
BY = {
    "beit3": "cosine",
    "vlp": "likelihood",
    "simvlm": "likelihood",
    "lemon": "likelihood",
}  # else by the match head


@dataclass(frozen=True)
class Condition:
    """A model to train. noise: of the detector. settings: over SIZES. learns: what it is fine-tuned on after pairs, each from the model
    of pairs: "questions", "statements", or "few" statements. before: settings of a stage of training before the pairs,
    which are then learned for the steps of fine-tuning. web: pairs are noisy. joint: words and regions are hidden
    together (UNITER). pairs: whether pairs are learned at all."""

    system: str
    noise: float = 0.0
    settings: tuple[tuple[str, Any], ...] = ()
    learns: tuple[str, ...] = ()
    before: tuple[tuple[str, Any], ...] | None = None
    short: bool = False
    web: bool = False
    joint: bool = False
    pairs: bool = True


class JointMasking(uniter.System):
    """UNITER with words and regions hidden at once, as its predecessors do, in place of one modality at a time."""

    def _words(self, texts: Texts, regions: Regions, generator: torch.Generator) -> Tensor:
        masked = mask_words(texts.ids, texts.mask, self.config, generator)
        hidden = mask_regions(regions.mask, generator, self.config.masked)
        rows, _ = self.read_pairs(replace(texts, ids=masked.ids), regions, hidden)
        scores = self.language_head(rows[masked.hidden], self.text.words.weight)
        return masked_loss(scores, texts.ids[masked.hidden])

    def _masked_regions(
        self, texts: Texts, regions: Regions, generator: torch.Generator, task: str
    ) -> Tensor:
        masked = mask_words(texts.ids, texts.mask, self.config, generator)
        return super()._masked_regions(replace(texts, ids=masked.ids), regions, generator, task)


def build(condition: Condition, tokens: Tokens, width: int, answers: Sequence[str], seed: int) -> Model:
    """A new model of a condition. answers: the list that it answers from, where it has one."""
    name = condition.system
    width += WIDER.get(name, 0)
    sizes: dict[str, Any] = dict(SIZES[name], width=width, heads=4, length=24, positions=48, dropout=0.0)
    if name == "vilbert":
        sizes |= dict(visual_width=width, shared_width=width)
    if name == "interbert":
        sizes |= dict(image_dropout=0.0)
    if name == "albef":
        sizes |= dict(image_width=width)
    if name in LISTED:
        sizes |= dict(answers=len(answers))
    if name == "vl_t5":
        yes, no, writes, fits = (tokens.bare([word])[0][0] for word in ("yes", "no", "is", "there"))
        sizes |= dict(
            inside=width, hidden=4 * width, true=yes, false=no, caption_source=(writes,), match_source=(fits,)
        )
        del sizes["positions"]
    if name == "beit3":
        del sizes["dropout"]
    sizes |= dict(condition.settings)
    words = [
        f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in sizes.items()
    ]
    model = models.build(name, tokens, "tiny", words, seed)
    if name != "vl_t5":  # whose own weights are drawn like this
        _spread(model.system, seed)
    if condition.joint:
        system = JointMasking(model.config)
        put_tensors(system, tensors_of(model.system))
        model.system = system
    return model


def _spread(system: nn.Module, seed: int) -> None:
    """Draw linear weights with a standard deviation of (columns) ** -.5. BERT's .02 is that of 2,500 columns, and so small at 64 that
    attention begins flat: UNITER then learns nothing of matching for the first 300 steps, and half as fast afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part in system.modules():
            if isinstance(part, nn.Linear) and part.weight.requires_grad:
                nn.init.normal_(part.weight, std=part.in_features**-0.5)


def changed(model: Model, seed: int, **settings: Any) -> Model:
    """The same weights under other settings; what these add is initialised by the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        system = type(model.system)(replace(model.config, **settings))
    if model.name != "vl_t5":
        _spread(system, seed)
    names = set(tensors_of(system))
    put_shared(system, {name: value for name, value in tensors_of(model.system).items() if name in names})
    return replace(model, system=system)


# -- training ----------------------------------------------------------------------------------------------------------


def learn(model: Model, fields: Mapping[str, Any], exercise: Exercise, settings: Settings) -> None:
    """Train a model in place: on captions, statements, or questions whose answers are labels of a list or texts to write."""
    table = TextTable.of(model.tokens, [[text] for text in exercise.texts], model.config.length)
    columns: list[Any] = [SceneColumn(fields, exercise.of)]
    if exercise.answers and model.name not in LISTED:
        answers = [[exercise.answers[label]] for label in exercise.labels]
        written = TextTable.of(model.tokens, answers, model.config.answer_length)
        columns.append(AnswerColumn(table, written, np.ones(len(answers), np.float32)))
    else:
        columns.append(TextColumn(table))
        if len(exercise.labels):
            columns.append(NumberColumn("labels", exercise.labels))
    columns.append(NumberColumn("image_ids", exercise.of))
    fit(model.system, Loader(columns, table), settings)


# -- measures ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def scores(model: Model, fields: Mapping[str, Any], pictures: Sequence[int], texts: Sequence[str]) -> Tensor:
    """How well each text goes with its picture [B], by what it is asked by: a head, a cosine or a likelihood."""
    parts = []
    for at in range(0, len(texts), 256):
        chosen = torch.tensor(pictures[at : at + 256])
        batch = Batch(
            **{name: value[chosen] for name, value in fields.items()},
            texts=model.texts(texts[at : at + 256]), image_of=torch.arange(len(chosen)),
        )  # fmt: skip
        parts.append(WAYS[BY.get(model.name, "match head")](model.system, batch).float())
    return torch.cat(parts)


def match(model: Model, fields: Mapping[str, Any], held: Scenes, blind: int = 0) -> dict[str, list[float]]:
    """Shares in which the right one of two has the higher score (AUROC of one against one): a caption with its picture and with
    another; a true caption and one with a false fact, of one picture. blind: pictures are moved on by so many places."""
    count, texts = len(held), held.texts
    exercise = data.statements(held)
    own = (np.arange(count) + blind) % count
    other = (np.array(data.others(held)) + blind) % count
    right, wrong = (scores(model, fields, rows.tolist(), texts) for rows in (own, other))
    both = scores(model, fields, ((exercise.of + blind) % count).tolist(), exercise.texts)
    return {"match": _higher(right, wrong), "wording": _higher(both[::2], both[1::2])}


def _higher(right: Tensor, wrong: Tensor) -> list[float]:
    return ((right > wrong).float() + 0.5 * (right == wrong).float()).tolist()


def recall(model: Model, fields: Mapping[str, Any], held: Scenes, blind: int = 0) -> list[float]:
    """R@1 of each held-out picture among all captions, by cosine; every caption that is true of it is right."""
    from experiments.claims._drawn import true_table

    with torch.no_grad():
        batch = Batch(images=fields["images"].roll(-blind, 0), texts=model.texts(held.texts))
        table = model.system.embed_image(batch) @ model.system.embed_text(batch).T
    right = torch.from_numpy(true_table(held.texts, held.scenes))
    return right[torch.arange(len(held)), table.argmax(1)].float().tolist()


def judge_statements(
    model: Model, fields: Mapping[str, Any], exercise: Exercise, blind: int = 0
) -> list[float]:
    """Whether each statement is judged rightly."""
    count = int(exercise.of.max()) + 1
    odds = scores(model, fields, ((exercise.of + blind) % count).tolist(), exercise.texts)
    return ((odds > 0) == torch.from_numpy(exercise.labels > 0)).float().tolist()


@torch.no_grad()
def answer(
    model: Model,
    fields: Mapping[str, Any],
    rows: Sequence[tuple[int, Any]],
    answers: Sequence[str],
    blind: int = 0,
) -> list[float]:
    """Whether the right one of each question's choices is chosen: by the list's logits, or by the likelihood of writing it."""
    of = torch.tensor([at for at, _ in rows])
    shown = (of + blind) % (int(of.max()) + 1)
    seen = {name: value[shown] for name, value in fields.items()}
    texts = model.texts([one.question for _, one in rows])
    owner = torch.tensor([at for at, (_, one) in enumerate(rows) for _ in one.choices])
    choices = [choice for _, one in rows for choice in one.choices]
    if model.name in LISTED:
        logits = model.system.answer_logits(Batch(**seen, texts=texts))
        places = torch.tensor([answers.index(choice) if choice in answers else 0 for choice in choices])
        each = logits[owner, places]
    else:
        batch = Batch(**seen, texts=model.texts(choices), image_of=owner, question=Questions(texts))
        each = WAYS["likelihood"](model.system, batch)
    best = [part.argmax().item() for part in each.split([len(one.choices) for _, one in rows])]
    return [float(one.choices[int(place)] == one.answer) for place, (_, one) in zip(best, rows)]
