"""Scorers of pairs of pictures and texts: models, and blind baselines.

A scorer has `way` (the name of its score), `cost` (counts of what it has computed, by name) and `scores(images, texts,
pairs)`; higher is better, and every picture and text is encoded once a call. Does not know: benchmarks.


M pairs, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from pairloom import verbs
from pairloom.data.batch import Batch
from pairloom.data.pair import content_hash, seed_of
from pairloom.model import Model
from pairloom.tasks.judge import judge

Shown = Image.Image | Path | str  # a picture, its file, or a text in its place
GROUP = 32  # pictures or texts that are encoded together


@runtime_checkable
class Scorer(Protocol):
    """Interface of a scorer. way: the name of its score. cost: counts of computed items. scores: [M] for pairs (index of image,
    index of text)."""

    @property
    def way(self) -> str: ...

    @property
    def cost(self) -> dict[str, int]: ...

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray: ...


@runtime_checkable
class Races(Protocol):
    """Interface of a scorer that can also decide single cases by races, at a lower cost: tables of pairs [I T] -> grids of
    ranks [I T], where higher is better."""

    def race(
        self, images: Sequence[Shown], texts: Sequence[str], tables: Sequence[list[list[tuple[int, int]]]]
    ) -> list[list[list[float]]]: ...


class Judging:
    """Scorer of a model that embeds, matches or writes, by one of its scores (way; None: its best)."""

    def __init__(self, model: Model, way: str | None = None) -> None:
        self.way = verbs.demand_way(model.system, way)
        self.model = model.eval()
        self.cost = {"pictures": 0, "texts": 0, "pairs": 0}
        self.cut: list[str] = []
        self._pictures: dict[Path, np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores [M]. Texts that are longer than the model reads are truncated, and recorded in `cut`."""
        long = [text for text in texts if self.model.tokens.too_long(text, self.model.config.length)]
        self.cut += [text for text in long if text not in self.cut]
        self.cost["pairs"] += len(pairs)
        return (self._by_cosine if self.way == "cosine" else self._jointly)(images, texts, pairs)

    def _by_cosine(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Cosines. Embeddings of files and texts are cached between calls, so that each is computed once in a run."""
        pictures, texts_embedded = self._embed_images(images), self._embed_texts(texts)
        of = np.asarray(pairs)
        cosines: np.ndarray = (pictures[of[:, 0]] * texts_embedded[of[:, 1]]).sum(1)
        return cosines.astype(np.float64)

    def _embed_images(self, images: Sequence[Shown]) -> np.ndarray:
        if all(isinstance(one, str) for one in images):
            return self._embed_texts([str(one) for one in images])
        vectors = [self._pictures.get(one) if isinstance(one, Path) else None for one in images]
        for chosen in _groups([at for at, row in enumerate(vectors) if row is None]):
            embedded = self.model.system.embed_image(self.model.batch([images[at] for at in chosen]))
            self.cost["pictures"] += len(chosen)
            for at, row in zip(chosen, embedded.float().cpu().numpy()):
                vectors[at] = row
                one = images[at]
                if isinstance(one, Path):
                    self._pictures[one] = row
        return np.stack(vectors)  # type: ignore[arg-type]

    def _embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        for chosen in _groups(list(dict.fromkeys(text for text in texts if text not in self._texts))):
            embedded = self.model.system.embed_text(self.model.batch(texts=chosen))
            self.cost["texts"] += len(chosen)
            self._texts.update(zip(chosen, embedded.float().cpu().numpy()))
        return np.stack([self._texts[text] for text in texts])

    def _jointly(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores of a match head or a writer, which reads picture and text together; each picture is encoded once."""
        scores = np.zeros(len(pairs))
        encoded = self.model.texts(texts)
        self.cost["texts"] += len(texts)
        of = np.asarray(pairs)
        for chosen in _groups(list(range(len(images)))):
            rows = np.flatnonzero((of[:, 0] >= chosen[0]) & (of[:, 0] <= chosen[-1]))
            if not len(rows):
                continue
            text_rows = torch.as_tensor(of[rows, 1], device=encoded.ids.device)
            batch: Batch = replace(
                self.model.batch([images[at] for at in chosen]),
                texts=encoded[text_rows],
                image_of=torch.as_tensor(of[rows, 0] - chosen[0], device=encoded.ids.device),
            )
            self.cost["pictures"] += len(chosen)
            scores[rows] = judge(self.model.system, batch, self.way)[0].double().cpu().numpy()
        return scores


class TextOnly:
    """Text-only baseline: the same scorer with one grey picture in the place of all pictures."""

    def __init__(self, judge: Scorer) -> None:
        self.judge, self.way, self.cost = judge, f"{judge.way}, gray picture", judge.cost

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores [M], the same for every picture."""
        gray = Image.new("RGB", (64, 64), (127, 127, 127))
        return self.judge.scores([gray], texts, [(0, at) for at in range(len(texts))])[
            [text for _, text in pairs]
        ]


class ImageOnly:
    """Image-only baseline: the same scorer with the empty text in the place of all texts."""

    def __init__(self, judge: Scorer) -> None:
        self.judge, self.way, self.cost = judge, f"{judge.way}, empty text", judge.cost

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores [M], the same for every text."""
        by_image = self.judge.scores(images, [""], [(at, 0) for at in range(len(images))])
        return by_image[[image for image, _ in pairs]]


class Random:
    """Random baseline: a hash of the names of picture and text, the same in every run."""

    way = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.cost = seed, {"pairs": 0}

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Scores [M] in [0, 1)."""
        self.cost["pairs"] += len(pairs)
        names = [_name(one) for one in images]
        return np.array([seed_of(names[image], texts[text], self.seed) / 2**63 for image, text in pairs])


def _name(one: Shown) -> str:
    if isinstance(one, Path):
        return "/".join(one.parts[-2:])
    return one if isinstance(one, str) else content_hash(one.tobytes())


def scorers(model: Model, way: str | None, blind: bool, options: dict[str, Any]) -> dict[str, Scorer]:
    """The scorer of a model under "" and, with `blind`, its baselines: text-only by the likelihood where the model writes,
    image-only of a diffusion model by the raw error (minus the empty text's error it would be 0).

    options: of a diffusion model (steps, protocol, race). Mistake for a score that the model does not have.
    """
    if verbs.demand_way(model.system, way) == verbs.DENOISE.by:
        from pairloom.bench._racing import Racing
        from pairloom.tasks.denoise import DenoisingScorer

        delta = options.get("race")
        options = {name: value for name, value in options.items() if name != "race"}
        plain = DenoisingScorer(model, **options)
        scorer: Scorer = plain if delta is None else Racing(plain, delta)
        writer, looker = scorer, ImageOnly(DenoisingScorer(model, alpha=0.0, **options))
    else:
        scorer = Judging(model, way)
        writer = Judging(model, "likelihood") if verbs.able(model.system, "caption") else scorer
        looker = ImageOnly(scorer)
    return {"": scorer, **({"text only": TextOnly(writer), "image only": looker} if blind else {})}


def _groups(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), GROUP):
        yield values[start : start + GROUP]


Make = Callable[[], dict[str, Scorer]]
