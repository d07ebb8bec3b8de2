"""Saliency maps: which cells of a picture a word, or the score of picture and text, depends on; and how faithful a map is.

Three methods. "attention": the attention of a caption writer for each word (Xu et al., 2015). "gradient": Grad-CAM on
cross-attention, its weights times the positive part of their gradient (Selvaraju et al., 2017; as in ALBEF, Li et al.,
2021). "occlusion": the fall of the score when a cell is painted over (Zeiler and Fergus, 2014), for every system with a
score. Faithfulness is measured on the model itself: when the highest cells of a map are painted over, the score should fall
further than for other cells.

n pictures, W words, T tokens, U V sides of the map, H H sides of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pairloom import verbs
from pairloom.data.batch import Batch, Texts
from pairloom.data.roles import WORD_BEGIN
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.regression.pixels import TwoViews
from pairloom.runtime.attention_recorder import AttentionRecorder
from pairloom.tasks.decode import Writing, decode
from pairloom.tasks.judge import judge

WAYS = ("attention", "gradient", "occlusion")
SIDE = 7  # of the cells that occlusion paints over, where nothing else sets them
GROUP = 16  # pictures that are judged together


@dataclass(frozen=True)
class Explanation:
    """A saliency map. maps [W U V]: one for each word; whole [U V]: of the whole text; no value is below 0, larger is more
    important. by: the score that is explained ("match head", "cosine", "likelihood"); score: its value. words: empty where
    there is only the whole map. ids: the text's tokens."""

    text: str
    ids: tuple[int, ...]
    words: tuple[str, ...]
    maps: Tensor
    whole: Tensor
    way: str
    by: str
    score: float


@dataclass(frozen=True)
class Faithfulness:
    """Faithfulness of a map (deletion test): the score after painting over a share of the cells, for the highest cells of the
    map, and for random ones (mean and standard deviation). rank: share of the random choices with a higher score; 1/2 for a
    random map."""

    share: float
    first: float
    random: float
    deviation: float
    rank: float


@dataclass(frozen=True)
class Explaining:
    """Options of explaining. way: "attention", "gradient" or "occlusion"; by: the score; None: the best that the system
    supports."""

    way: str | None = None
    by: str | None = None


def explain(
    model: Model, image: Tensor, text: str | Sequence[int], options: Explaining = Explaining()
) -> Explanation:
    """Saliency map of a picture [3 H H] (normalised) and a text, or its token ids without the first and the last.

    Mistake where the system does not support it, and for a text without words or of more tokens than the system reads.
    """
    system, tokens, way, by = model.system, model.tokens, options.way, options.by
    demand_explainable(model)
    able = verbs.ways(system)
    by = verbs.demand_way(system, by) if by else None
    most = system.config.length
    if isinstance(text, str):
        row = tokens.rows([text], max(most, len(text) + 2))[0]
    else:
        row = [tokens.cls, *text, tokens.sep]
    if len(row) > most:
        raise Mistake(
            "The text is longer than the model reads.",
            f"It reads {most - 2} tokens, and the text has {len(row) - 2}.",
            "Give a shorter text.",
        )
    if len(row) < 3:
        raise Mistake("The text has no words.", "", "Give a text, or none: the model then writes one.")
    batch = _batch(image.to(model.device), row)
    way, by, maps, whole = _maps(system, batch, way, by or _score_of(system, able, way))
    score = float(judge(system, batch, by)[0][0])
    groups = words_of(tokens, row[1:-1]) if len(maps) else []
    joined = torch.stack([maps[at].mean(0) for _, at in groups]) if groups else maps
    caption_text = text if isinstance(text, str) else tokens.decode(row)
    words = tuple(word for word, _ in groups)
    return Explanation(caption_text, tuple(row), words, joined.cpu(), whole.cpu(), way, by, score)


def demand_explainable(model: Model) -> None:
    """Raise Mistake where no map of a picture can be made."""
    verbs.demand_way(model.system)
    if isinstance(model.feed, TwoViews):
        raise Mistake(
            f"A {model.name} cannot be explained.",
            "It reads two views of a picture side by side, in which a map would have no place.",
            "Explain with a model that reads pixels, such as models/captioner of a clean run.",
        )


def _batch(image: Tensor, row: Sequence[int]) -> Batch:
    """One picture and one text."""
    tokens = torch.tensor([row], device=image.device)
    return Batch(images=image[None, None], texts=Texts.unpadded(tokens))


def _score_of(system: Any, able: Sequence[str], way: str | None) -> str:
    """The default score: the likelihood for attention maps, otherwise the best score of the system."""
    return "likelihood" if way == "attention" and "likelihood" in able else able[0]


def _maps(system: Any, batch: Batch, way: str | None, by: str) -> tuple[str, str, Tensor, Tensor]:
    """The method, the score, the maps [T - 2 U V] of the tokens between first and last (or none), and the whole map."""
    if way not in (None, *WAYS):
        raise Mistake(f"There is no way '{way}' to explain.", "", f"Choose one of {', '.join(WAYS)}.")
    if way in (None, "attention") and by == "likelihood":
        maps = _attention_of(system, batch)
        if maps is not None:
            return "attention", by, maps, maps.mean(0)
    if way in (None, "gradient") and by in ("match head", "likelihood"):
        weights = _weighed(system, batch, by)
        if weights is not None:
            return "gradient", by, *weights
    if way in (None, "occlusion"):
        return "occlusion", by, *_hidden(system, batch, by)
    raise Mistake(
        f"This system cannot be explained by {way}.",
        "It has no attention to the cells of a picture while it writes or judges.",
        "Try --way occlusion, which works for every system.",
    )


# attention


@torch.no_grad()
def _attention_of(system: verbs.Writes, batch: Batch) -> Tensor | None:
    """Attention maps of each token, from the writer's State; None where the State has none."""
    tokens, _ = batch.text()
    state = system.start(replace(batch, texts=None))
    looks = []
    for at in range(tokens.shape[1] - 2):
        _, state = system.step(state, tokens[:, at])
        if not isinstance(state, verbs.HasAttention) or state.attention is None:
            return None
        looks.append(state.attention[0])
    return _square(torch.stack(looks))


def _square(rows: Tensor) -> Tensor:
    """Reshape the cells of a square picture: [W P] -> [W U U]."""
    side = math.isqrt(rows.shape[1])
    if side * side != rows.shape[1]:
        raise ValueError(f"{rows.shape[1]} cells are no square")
    return rows.unflatten(1, (side, side)).float().cpu()


# gradient


@torch.enable_grad()
def _weighed(system: Any, batch: Batch, by: str) -> tuple[Tensor, Tensor] | None:
    """Grad-CAM of the score, or of each token's log-probability, on cross-attention. None where no cross-attention reads one
    class row and then the patches of a picture.

    The layer is at two thirds of the depth (the ninth of twelve, as in the released code), and never the last, in which only
    the row that the match head reads has a gradient.
    """
    tokens, _ = batch.text()
    if isinstance(system, verbs.Sees):
        with torch.no_grad():
            batch = system.encode_image(batch)
    with AttentionRecorder(system) as seen:
        scores = system.match(batch) if by == "match head" else system.logits(batch)
    cells = _cells(system)
    if not seen.weights or seen.weights[0].shape[-1] != cells + 1:
        return None
    weights = seen.weights[max(0, min(2 * len(seen.weights) // 3, len(seen.weights) - 2))]
    if by == "match head":
        cam = _cam(scores.sum(), weights)
        words = cam[1:-1] if len(cam) == tokens.shape[1] else cam[:0]  # none where queries read the picture
        return _square(words), _square(cam.sum(0, keepdim=True))[0]
    likely = scores[0].float().log_softmax(-1).gather(1, tokens[0].roll(-1)[:, None])[:, 0]
    maps = torch.stack([_cam(likely[at], weights)[at] for at in range(tokens.shape[1] - 2)])
    return _square(maps), _square(maps.mean(0, keepdim=True))[0]


def _cells(system: Any) -> int:
    """Number of patches of a picture by the config; 0 where the config does not tell."""
    side = system.config.image_size // max(
        1, getattr(system.config, "patch", 0) or system.config.image_size + 1
    )
    return int(side) ** 2


def _cam(score: Tensor, weights: Tensor) -> Tensor:
    """Grad-CAM [T P]: weights [1 H T 1 + P] times the positive part of their gradient, mean over heads, without the class
    row."""
    (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
    return (weights * gradient.clamp_min(0))[0, :, :, 1:].mean(0).detach()


# occlusion


@torch.no_grad()
def _hidden(system: Any, batch: Batch, by: str) -> tuple[Tensor, Tensor]:
    """Occlusion maps: the fall of the score, and for a writer of each token's log-probability, when a cell is painted over."""
    image = batch.required("images")[0, 0]
    painted = paint(image, torch.eye(SIDE * SIDE, dtype=torch.bool).unflatten(1, (SIDE, SIDE)))
    scores = score_all(system, batch, by, torch.cat([image[None], painted]))
    whole = (scores[0] - scores[1:]).clamp_min(0).view(SIDE, SIDE)
    if by != "likelihood":
        return torch.zeros(0, SIDE, SIDE), whole
    tokens, _ = batch.text()
    outputs = torch.cat([
        system.logits(_of(batch, part))[:, :-2].float().log_softmax(-1).cpu()
        for part in torch.cat([image[None], painted]).split(GROUP)
    ])  # fmt: skip
    likely = outputs.gather(2, tokens[:, 1:-1, None].cpu().expand(len(outputs), -1, 1))[..., 0]
    maps = (likely[:1] - likely[1:]).clamp_min(0).T.reshape(-1, SIDE, SIDE)
    return maps, whole


def paint(image: Tensor, hidden: Tensor) -> Tensor:
    """Paint over the hidden cells [n U V] of a picture [3 H H] in its mean colour: [n 3 H H]."""
    mask = (
        F.interpolate(hidden[:, None].float(), image.shape[-2:], mode="nearest-exact").bool().to(image.device)
    )
    return torch.where(mask, image.mean((1, 2))[:, None, None], image)


def score_all(system: Any, batch: Batch, by: str, images: Tensor) -> Tensor:
    """Scores [n] of the batch's text with each of these pictures [n 3 H H]."""
    parts = [judge(system, _of(batch, part), by)[0].float().cpu() for part in images.split(GROUP)]
    return torch.cat(parts)


def _of(batch: Batch, images: Tensor) -> Batch:
    """Batch of the one text of a batch with each of several pictures."""
    texts = batch.required("texts")
    return Batch(images=images[:, None], texts=texts[[0] * len(images)])


@torch.no_grad()
def faithfulness(
    model: Model,
    image: Tensor,
    explanation: Explanation,
    shares: Sequence[float] = (0.1, 0.2, 0.3),
    times: int = 20,
    seed: int = 0,
) -> list[Faithfulness]:
    """Deletion test of a map: paint over its highest cells, and over `times` random choices of as many, and compare the
    scores."""
    image = image.to(model.device)
    batch = _batch(image, explanation.ids)
    shape = explanation.whole.shape

    def score(hidden: Tensor) -> Tensor:
        return score_all(model.system, batch, explanation.by, paint(image, hidden.view(-1, *shape)))

    return deletion_test(explanation.whole.flatten(), score, shares, times, seed)


def deletion_test(
    weights: Tensor, score: Callable[[Tensor], Tensor], shares: Sequence[float], times: int, seed: int
) -> list[Faithfulness]:
    """Faithfulness at each share. weights [P]: of cells or regions; score(hidden [n P]): of the picture without these [n]."""
    generator = torch.Generator().manual_seed(seed)
    order = weights.argsort(descending=True, stable=True)
    drops = []
    for share in shares:
        count = max(1, round(share * len(order)))
        rows = [order, *(torch.randperm(len(order), generator=generator) for _ in range(times))]
        hidden = torch.zeros(len(rows), len(order), dtype=torch.bool)
        for row, chosen in enumerate(rows):
            hidden[row, chosen[:count]] = True
        scores = score(hidden)
        rest = scores[1:]
        rank = float((rest > scores[0]).float().mean() + (rest == scores[0]).float().mean() / 2)
        deviation = float(rest.std()) if times > 1 else 0.0
        drops.append(Faithfulness(share, float(scores[0]), float(rest.mean()), deviation, rank))
    return drops


def written(model: Model, image: Tensor) -> tuple[int, ...]:
    """The token ids of the model's own caption of a picture [3 H H]. Mistake where the model does not write, or writes no
    words."""
    if verbs.able(model.system, "caption") is None:
        raise Mistake(f"A {model.name} cannot write captions.", "It only scores texts.", "Give a text too.")
    writing = Writing(max_length=model.config.length - 1)  # the end has a place of its own
    tokens = decode(model.system, Batch(images=image[None, None].to(model.device)), writing)[0][0].tokens
    if not tokens:
        raise Mistake(
            f"The {model.name} wrote nothing.", "Its likeliest caption has no words.", "Give a text."
        )
    return tokens


def words_of(tokens: Tokens, ids: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Words of a text, each with the positions of its tokens: word pieces are joined."""
    spell: Callable[[int], Any] = tokens.tokenizer.id_to_token
    sentencepiece = any(spell(one).startswith(WORD_BEGIN) for one in ids)
    groups: list[list[int]] = []
    for at, one in enumerate(ids):
        if tokens.byte_pairs:
            goes_on = at > 0 and not spell(ids[at - 1]).endswith("</w>")
        elif sentencepiece:
            goes_on = at > 0 and not spell(one).startswith(WORD_BEGIN)
        else:
            goes_on = at > 0 and spell(one).startswith("##")
        groups[-1].append(at) if goes_on else groups.append([at])
    return [(tokens.decode([ids[at] for at in group]), group) for group in groups]
