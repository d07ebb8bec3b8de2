"""The claims of the fusion encoders on the drawn world: that each reads its pictures at all, and what their papers say of objectives,
masks, streams, pixels and noisy pairs.

Every model learns captions of drawn scenes at one width for equally many steps, from a detector that is perfect or noisy, from
pixels, or from visual words, and is measured on the same held-out scenes. Those that answer questions or judge statements
are then fine-tuned on these, each time from the model of pairs. "blind" is the same model with every held-out picture in
another's place; "text alone" is a naive Bayes classifier of the question or the statement.

Rules, fixed before the run (a rule holds where the 95 % interval of the difference lies above 0):
- reads: every system is above its blind row, and above text alone where there is one.
- ladder: with few labels, each further objective of UNITER is higher than the rung before, and all of them than none.
- masking: one modality at a time is higher than both at once.
- streams: two streams at equal parameters against one; no direction is claimed, "holds" is for two streams.
- pixels: Pixel-BERT is at most two points behind UNITER with a noisy detector.
- sampling: a model that learns from some cells is at most two points behind one that learns from all.
- masks: with both masks VLP is at most two points behind either mask alone at what that mask is for, and above it at what it is not.
- one objective: masked data modelling first makes BEiT-3's short contrastive training find more.
- distillation: soft targets of a slow copy make ALBEF find more after noisy pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from time import process_time
from typing import Any

import numpy as np

from experiments.claims import _fusion_data as data
from experiments.claims import _fusion_models as fusion
from experiments.claims import _jobs
from experiments.claims._fusion_models import Condition
from experiments.claims._jobs import Job
from experiments.claims._verdict import Claim, Contrast
from pairloom.data.pair import seed_of
from pairloom.data.tokens import Tokens
from pairloom.train.settings import Settings

NOISE = 0.3  # of the noisy detector: each attribute is another with this chance, and a thing is missed with half of it
MARGIN = 0.02
FULL = (2.0, 2.0, 1.0, 0.0, 1.0)  # itm, mlm, features, classes, distribution
RUNGS: Mapping[str, dict[str, Any] | None] = {  # UNITER's objectives, one more on each rung; None: nothing is learned before
    "uniter, no pairs": None,
    "uniter, words": dict(mix=(0.0, 1.0, 0.0, 0.0, 0.0), wra=0.0),
    "uniter, words and matching": dict(mix=(2.0, 2.0, 0.0, 0.0, 0.0), wra=0.0),
    "uniter, all but alignment": dict(mix=FULL, wra=0.0),
    "uniter": {},
}  # fmt: skip
BOTH = ("questions", "statements")
REGION = {
    "vilbert": BOTH, "lxmert": BOTH, "vl_bert": BOTH[:1], "uniter": BOTH, "vlp": BOTH[:1], "videobert": (), "interbert": BOTH,
    "vl_t5": BOTH[:1], "lemon": (),
}  # fmt: skip
PIXEL = {"pixel_bert": BOTH, "beit3": (), "albef": (), "simvlm": BOTH[:1]}
CONDITIONS: dict[str, Condition] = {
    **{name: Condition(name, learns=learns) for name, learns in (REGION | PIXEL).items()},
    **{f"{name}, noisy": Condition(name, NOISE, learns=learns) for name, learns in REGION.items()},
    **{
        name: Condition("uniter", settings=tuple((own or {}).items()), learns=("few",), pairs=own is not None)
        for name, own in RUNGS.items()
    },
    "uniter": Condition("uniter", learns=(*BOTH, "few")),
    "uniter, joint": Condition("uniter", learns=("few",), joint=True),
    "pixel_bert, all cells": Condition("pixel_bert", settings=(("sampled", 0),)),
    "vlp, both ways": Condition("vlp", settings=(("both_ways", 1.0),), learns=("questions",)),
    "vlp, writing": Condition("vlp", settings=(("both_ways", 0.0),), learns=("questions",)),
    "beit3, first masked": Condition("beit3", settings=(("data", 0.0),), before=(("data", 1.0), ("itc", 0.0)), short=True),
    "beit3, at once": Condition("beit3", settings=(("data", 0.0),), short=True),
    "albef, distilled": Condition("albef", settings=(("momentum", 0.99), ("alpha", 0.4)), web=True),
    "albef, hard": Condition("albef", settings=(("momentum", 0.99), ("alpha", 0.0)), web=True),
}  # fmt: skip
BLIND, TEXT, PLUS = " (blind)", " (text alone)", ", plus two points"


def _measures(name: str) -> tuple[str, ...]:
    """The measures of a system that its blind row is compared in."""
    learns = tuple(one for one in CONDITIONS[name].learns if one != "few")
    return learns if name.startswith("vl_bert") else ("match", "wording", *learns)


def _reads(name: str) -> Claim:
    learns = tuple(one for one in CONDITIONS[name].learns if one != "few")
    text = (Contrast(name, name + TEXT, learns, "(no number)"),) if learns else ()
    says = f"{name.capitalize()} reads its pictures."
    return Claim(
        f"reads, {name}",
        says,
        "(ours)",
        (Contrast(name, name + BLIND, _measures(name), "(no number)"), *text),
    )


def _rungs() -> tuple[Contrast, ...]:
    numbers = ("META-SUM 314.3 / 263.0", "(no number)", "(no number)", "400.9 / 399.5")
    steps = zip(list(RUNGS)[1:], list(RUNGS), numbers)
    return (
        *(Contrast(new, old, ("few",), paper) for new, old, paper in steps),
        Contrast("uniter", "uniter, no pairs", ("few",), "META-SUM 400.9 / 263.0"),
    )


READS = tuple(_reads(name) for name in (*REGION, *PIXEL, *(f"{name}, noisy" for name in REGION)))
CLAIMS = (
    *READS,
    Claim("ladder", "Every objective of pre-training adds something.", "UNITER, table 2", _rungs()),
    Claim(
        "masking", "It is better to mask one modality at a time than both at once.", "UNITER, table 2",
        (Contrast("uniter", "uniter, joint", ("few", "match", "wording"), "META-SUM 399.5 / 396.5"),),
    ),
    Claim(
        "streams", "Two streams, or one (the papers disagree).", "ViLBERT, table 1; UNITER, section 4",
        (
            Contrast("vilbert", "uniter", ("match", "wording", *BOTH), "(no number)"),
            Contrast("lxmert", "uniter", ("match", "wording", *BOTH), "(no number)"),
            Contrast("lxmert", "vl_bert", ("questions",), "(no number)"),
        ),
    ),
    Claim(
        "pixels", "Pixels can take the place of regions.", "Pixel-BERT, table 2",
        (Contrast("pixel_bert" + PLUS, "uniter, noisy", ("match", "wording"), "VQA 74.45 / 72.27"),),
    ),
    Claim(
        "sampling", "Learning from a random part of the cells costs nothing.", "Pixel-BERT, table 4",
        (Contrast("pixel_bert" + PLUS, "pixel_bert, all cells", ("match", "wording"), "VQA 71.4 / 70.9"),),
    ),
    Claim(
        "masks", "One model with two masks understands and writes.", "VLP, table 2",
        (
            Contrast("vlp" + PLUS, "vlp, writing", ("match", "wording"), "(no number)"),
            Contrast("vlp" + PLUS, "vlp, both ways", ("questions",), "(no number)"),
            Contrast("vlp", "vlp, both ways", ("match", "wording"), "(no number)"),
            Contrast("vlp", "vlp, writing", ("questions",), "(no number)"),
        ),
    ),
    Claim(
        "one objective", "One objective, masked data modelling, prepares for retrieval.", "BEiT-3, section 2",
        (Contrast("beit3, first masked", "beit3, at once", ("R@1", "match", "wording"), "(no number)"),),
    ),
    Claim(
        "distillation", "Soft targets of a slow copy help where pairs are noisy.", "ALBEF, table 1",
        (Contrast("albef, distilled", "albef, hard", ("R@1", "match", "wording"), "TR 94.5 / 93.7 (zero-shot sums)"),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Setting of the tests. pairs, held: numbers of training and of held-out scenes. few: scenes whose statements are labelled where
    labels are few. steps, fine: of training on pairs, and of fine-tuning."""

    pairs: int = 4000
    held: int = 400
    few: int = 250
    questions: int = 3
    width: int = 64
    batch: int = 48
    steps: int = 500
    fine: int = 800
    lr: float = 1e-3
    web_noise: float = 0.4

    def __post_init__(self) -> None:
        if min(self.pairs, self.held, self.few) < 2:
            raise ValueError("there are at least 2 scenes of each kind")


def stages(named: set[str]) -> list[list[str]]:
    """Stages: the conditions; the others are derived from their results."""
    own = {name.removesuffix(BLIND).removesuffix(TEXT).removesuffix(PLUS) for name in named}
    return [[name for name in CONDITIONS if name in own]]


def results(outcomes: dict[tuple[str, int], Any], setting: Setting) -> dict[tuple[str, int], Any]:
    """The outcomes as rows of the conditions: seen, blind, text alone, and with the margin of a rule. Statements and questions of one
    scene are one item, their mean."""
    rows = {}
    for (name, seed), values in outcomes.items():
        items = {
            key: np.reshape(one, (setting.held, -1)).mean(1)
            for key, one in values.items()
            if len(one) >= setting.held
        }
        for suffix in ("", BLIND, TEXT):
            own = {key.removesuffix(suffix): one for key, one in items.items() if key.endswith(suffix)}
            rows[name + suffix, seed] = {key: one.tolist() for key, one in own.items()}
        rows[name + PLUS, seed] = {key: (one + MARGIN).tolist() for key, one in items.items()}
    return rows


@lru_cache(maxsize=4)
def _tokens(setting: Setting, seed: int) -> tuple[Tokens, tuple[str, ...]]:
    """The vocabulary of a seed's texts, and the list of answers."""
    drawn = _learn(setting, seed)
    exercise = data.with_answers(data.pick_questions(drawn, setting.questions))
    return Tokens.train((*drawn.texts, *exercise.texts, *exercise.answers), 300), exercise.answers


def _learn(s: Setting, seed: int, noise: float = 0.0) -> data.Scenes:
    return data.scenes(s.pairs, seed_of("claims fusion", seed, "learn") >> 32, noise)


def _few(drawn: data.Scenes, count: int) -> data.Scenes:
    return data.Scenes(drawn.scenes[:count], drawn.texts[:count])


def make(job: Job) -> dict[str, Any]:
    """Train one condition on pairs and measure it; then fine-tune it on what it learns beside, and measure that."""
    s, condition, begun = job.setting, CONDITIONS[job.name], process_time()
    tokens, answers = _tokens(s, job.seed)
    model = fusion.build(condition, tokens, s.width, answers, job.seed)
    drawn = _learn(s, job.seed, s.web_noise if condition.web else 0.0)
    held = data.scenes(s.held, seed_of("claims fusion", job.seed, "held") >> 32)
    fields, seen = (data.shown(model, one, condition.noise) for one in (drawn, held))
    own = Settings(
        lr=s.lr, min_lr=0.0, batch=min(s.batch, s.pairs), steps=s.steps, warmup=0.1, betas=(0.9, 0.98),
        weight_decay=0.01, clip=0.0, seed=job.seed, save_every=0, threads=1,
    )  # fmt: skip
    captions = data.Exercise(drawn.texts, np.arange(len(drawn)), np.array([]))
    if condition.before is not None:
        config = model.config
        model = fusion.changed(model, job.seed, **dict(condition.before))
        fusion.learn(model, fields, captions, own)
        model = fusion.changed(model, job.seed, **asdict(config))
    if condition.pairs:
        fusion.learn(model, fields, captions, replace(own, steps=s.fine) if condition.short else own)
    measured = _pairs(model, seen, held) if condition.pairs else {}
    for task in condition.learns:
        measured |= _tuned(task, model, (drawn, fields), (held, seen), s, replace(own, steps=s.fine), answers)
    parameters = sum(one.numel() for one in model.system.parameters())
    return {**measured, "parameters": [parameters], "seconds": [process_time() - begun]}


def _pairs(model: Any, seen: Mapping[str, Any], held: data.Scenes) -> dict[str, list[float]]:
    """Measures of a model of pairs, with its pictures and with others."""
    measured: dict[str, list[float]] = {}
    for suffix, blind in (("", 0), (BLIND, len(held) // 2)):
        values = fusion.match(model, seen, held, blind) if model.name != "vl_bert" else {}
        if model.name in ("beit3", "albef"):
            values["R@1"] = fusion.recall(model, seen, held, blind)
        measured |= {name + suffix: one for name, one in values.items()}
    return measured


def _tuned(
    task: str,
    model: Any,
    learn: tuple[Any, Any],
    held: tuple[Any, Any],
    s: Setting,
    own: Settings,
    answers: tuple[str, ...],
) -> dict[str, list[float]]:
    """Measures of a model after fine-tuning on questions or statements, with its pictures, with others, and of text alone."""
    half = s.held // 2
    if task == "questions":
        changes: dict[str, Any] = {"matches": False} if "statements" in CONDITIONS[model.name].learns else {}
        model = fusion.changed(model, own.seed, **({"alone": 0.0} if model.name == "vl_bert" else changes))
        exercise = data.with_answers(data.pick_questions(learn[0], s.questions), answers)
        fusion.learn(model, learn[1], exercise, own)
        rows, text = data.pick_questions(held[0], s.questions), data.TextAlone(exercise)
        values = [fusion.answer(model, held[1], rows, answers, blind) for blind in (0, half)]
        blindly = [float(text.choose(one.question, one.choices, answers) == one.answer) for _, one in rows]
    else:
        exercise = data.statements(_few(learn[0], s.few) if task == "few" else learn[0])
        model = fusion.changed(model, own.seed, pictures=1)
        own = replace(own, batch=min(own.batch, len(exercise.texts)))
        fusion.learn(model, learn[1], exercise, own)
        rows, text = data.statements(held[0]), data.TextAlone(exercise)
        values = [fusion.judge_statements(model, held[1], rows, blind) for blind in (0, half)]
        blindly = [float(text.best(one) == label) for one, label in zip(rows.texts, rows.labels)]
    return {task: values[0], task + BLIND: values[1], task + TEXT: blindly}


run = _jobs.runner(CLAIMS, stages, make, results)
