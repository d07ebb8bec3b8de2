"""Judging: scorers, that is, whatever gives pairs of pictures and texts a number, and blind ones to compare with.

A scorer has `way`, `cost` (what it has computed so far, by name) and `scores(images, texts, pairs)`; higher is better, and
every picture and every text is prepared once a call. Knows models by their verbs; does not know benchmarks.

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

Shown = Image.Image | Path | str  # a picture, its file, or a text that texts are compared with
GROUP = 32  # pictures or texts that are prepared together


@runtime_checkable
class Scorer(Protocol):
    """way: how it judges. cost: counts that only grow. scores -> [M] for pairs of (index of image, index of text)."""

    @property
    def way(self) -> str: ...

    @property
    def cost(self) -> dict[str, int]: ...

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray: ...


@runtime_checkable
class Races(Protocol):
    """A scorer that can also decide single cases, for less: tables of pairs [I T] -> grids of places [I T], higher won."""

    def race(
        self, images: Sequence[Shown], texts: Sequence[str], tables: Sequence[list[list[tuple[int, int]]]]
    ) -> list[list[list[float]]]: ...


class Judging:
    """Any model that embeds, matches or writes, asked in one way (the best it can, unless one is named)."""

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
        """[M]. Texts longer than the model reads are cut by its tokenizer, and named in `cut`."""
        long = [text for text in texts if self.model.tokens.too_long(text, self.model.config.length)]
        self.cut += [text for text in long if text not in self.cut]
        self.cost["pairs"] += len(pairs)
        return (self._by_cosine if self.way == "cosine" else self._jointly)(images, texts, pairs)

    def _by_cosine(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Embeddings of files and texts are kept between calls: each is made once a benchmark run."""
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
        """A match head or a writer reads picture and text together; pictures are looked at once, in groups."""
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
    """Blind to pictures: the same judge shown one gray picture, whatever the case shows."""

    def __init__(self, judge: Scorer) -> None:
        self.judge, self.way, self.cost = judge, f"{judge.way}, gray picture", judge.cost

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """[M], the same for every picture."""
        gray = Image.new("RGB", (64, 64), (127, 127, 127))
        return self.judge.scores([gray], texts, [(0, at) for at in range(len(texts))])[
            [text for _, text in pairs]
        ]


class ImageOnly:
    """Blind to texts: the same judge told nothing, whatever the case says."""

    def __init__(self, judge: Scorer) -> None:
        self.judge, self.way, self.cost = judge, f"{judge.way}, empty text", judge.cost

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """[M], the same for every text."""
        by_image = self.judge.scores(images, [""], [(at, 0) for at in range(len(images))])
        return by_image[[image for image, _ in pairs]]


class Random:
    """Blind to everything: a number from the names of the picture and the text, the same in every run."""

    way = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.cost = seed, {"pairs": 0}

    def scores(
        self, images: Sequence[Shown], texts: Sequence[str], pairs: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """[M] in [0, 1)."""
        self.cost["pairs"] += len(pairs)
        names = [_name(one) for one in images]
        return np.array([seed_of(names[image], texts[text], self.seed) / 2**63 for image, text in pairs])


def _name(one: Shown) -> str:
    if isinstance(one, Path):
        return "/".join(one.parts[-2:])
    return one if isinstance(one, str) else content_hash(one.tobytes())


def scorers(model: Model, way: str | None, blind: bool, options: dict[str, Any]) -> dict[str, Scorer]:
    """The judge of a model under "" and, if asked, its blind likenesses: the text-only one by likelihood where it writes, the
    image-only one of a model that denoises by the error itself (less that error nothing would be left of it).

    options: for a model that denoises (steps, protocol, race). Mistake where there is no such way.
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
