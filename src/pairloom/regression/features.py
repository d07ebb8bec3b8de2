"""Features of pictures and texts for the ridge judge: pretrained towers where they are given, hand-made features, words.

Raw features are computed once for every picture and every distinct text of a shard, in half precision, and stored beside the
audit. The space that a judge compares in is learnt from a sample: means, principal axes of the pictures, words of the texts.

Does not know: regression, scores, decisions.

n pictures or texts, R raw features, D features of a picture, E of a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor

from pairloom.checkpoints.shapes import demand_shapes
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable, open_image
from pairloom.regression.axes import principal_axes
from pairloom.regression.ridge import in_blocks, unit
from pairloom.regression.words import WordFeatures
from pairloom.runtime.threads import one_thread
from pairloom.towers import ImageTower, TextTower, load_image_tower, load_text_tower
from pairloom.towers.handmade import PATCH, HandmadeFeatures

Raw = NDArray[np.float16]
Floats = NDArray[np.float32]
BlockWidths = tuple[tuple[int, ...], ...]  # widths of the blocks of each view
AXES, SAMPLE = 512, 4000  # principal axes of a view of the pictures, and pictures that they are learnt from
DESCRIPTION, TENSORS, VOCABULARY = "encoders.json", "encoders.safetensors", "words.json"


@dataclass(frozen=True)
class Encoders:
    """What computes raw features: the dictionary of hand-made ones, and the names or paths of the towers (None: none)."""

    handmade: HandmadeFeatures
    image_tower: str | None = None
    text_tower: str | None = None
    device: str = "cpu"

    @property
    def images(self) -> ImageTower | None:
        return None if self.image_tower is None else _image_tower(self.image_tower, self.device)

    @property
    def texts(self) -> TextTower | None:
        return None if self.text_tower is None else _text_tower(self.text_tower, self.device)

    @cached_property
    def identity(self) -> str:
        """Content hash of everything that raw features depend on."""
        parts = [b"mirrored", *(tensor.numpy().tobytes() for tensor in self.handmade.tensors().values())]
        parts += [b"" if tower is None else tower.identity.encode() for tower in (self.images, self.texts)]
        return content_hash(*parts)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of raw features of a picture, block by block; the tower's come last."""
        return (*self.handmade.widths, *(() if self.images is None else (self.images.width,)))

    def pictures(self, pixels: NDArray[np.uint8], encoded: Callable[[], Sequence[bytes | None]]) -> Raw:
        """Raw features [n R] of pictures, from the audit's pixels and, for a tower, from the files. `encoded` gives None for
        a file that cannot be read, whose features are 0."""
        blocks = [self.handmade(pixels)]
        if self.images is not None:
            blocks.append(_tower_features(self.images, encoded()))
        return np.concatenate(blocks, 1).astype(np.float16)

    def prepared(self, pixels: NDArray[np.uint8], shown: NDArray[np.uint8] | None) -> Raw:
        """Raw features [n R] of pictures that are in memory. shown [n S S 3]: prepared for the tower, where there is one."""
        blocks = [self.handmade(pixels)]
        if self.images is not None and shown is not None:
            blocks.append(self.images.pooled(shown))
        return np.concatenate(blocks, 1).astype(np.float16)

    def sentences(self, texts: Sequence[str]) -> Raw:
        """Raw features [n R] of texts by the tower; without one R is 0."""
        if self.texts is None:
            return np.zeros((len(texts), 0), np.float16)
        return self.texts.embed(texts).astype(np.float16)

    def save(self, folder: Path) -> None:
        """Write the encoders to a folder; towers are named, not copied."""
        known = {"image_tower": self.image_tower, "text_tower": self.text_tower, "identity": self.identity}
        with atomic_write(folder / TENSORS, replace=True) as file:
            file.write(save({name: tensor.numpy() for name, tensor in self.handmade.tensors().items()}))
        with atomic_write(folder / DESCRIPTION, replace=True) as file:
            file.write(json.dumps(known).encode())

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Encoders:
        """The inverse of `save`."""
        known = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        tensors = _tensors(folder / TENSORS)
        demand_shapes(tensors, {"mean": "Q", "whitening": "Q Q", "words": "K Q"}, Q=3 * PATCH**2)
        return cls(HandmadeFeatures.of(tensors), known["image_tower"], known["text_tower"], device)


@lru_cache(maxsize=1)
def _image_tower(where: str, device: str) -> ImageTower:
    return load_image_tower(where, device)


@lru_cache(maxsize=1)
def _text_tower(where: str, device: str) -> TextTower:
    return load_text_tower(where, device)


def _tensors(file: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in load_file(file).items()}


def _tower_features(tower: ImageTower, encoded: Sequence[bytes | None]) -> Floats:
    """Pooled features [n R] of encoded pictures, a few in memory at a time."""
    features = np.zeros((len(encoded), tower.width), np.float32)
    waiting: list[tuple[int, NDArray[np.uint8]]] = []

    def flush() -> None:
        if waiting:
            features[[row for row, _ in waiting]] = tower.pooled(np.stack([pixels for _, pixels in waiting]))
            waiting.clear()

    for row, data in enumerate(encoded):
        try:
            waiting.append((row, tower.prepare(open_image(data or b""))))
        except Unreadable:
            continue
        if len(waiting) == 64:
            flush()
    flush()
    return features


@dataclass(frozen=True)
class FeatureSpace:
    """Features of length 1 from raw ones: of a picture by each of G views, of a text by one.

    views: widths of the blocks of each view. means [R], axes G x [r D]: of pictures. text_mean [R], word_mean: of texts. words: their
    word features.
    """

    views: BlockWidths
    means: Floats
    axes: tuple[Floats, ...]
    text_mean: Floats
    word_mean: Floats
    words: WordFeatures

    @classmethod
    def learn(
        cls,
        views: BlockWidths,
        pictures: Raw,
        texts: Sequence[str],
        sentences: Raw,
        seed: int,
        most: int = AXES,
    ) -> FeatureSpace:
        """Learn the space from raw features of pictures [n R] and from texts with their raw features. views: `together` or
        `apart`; most: greatest number of axes of each."""
        words = WordFeatures.learn(texts, seed)
        means = pictures.astype(np.float64).mean(0).astype(np.float32)
        text_mean = sentences.astype(np.float64).mean(0).astype(np.float32)
        word_mean = words(texts).astype(np.float64).mean(0).astype(np.float32)
        unreduced = cls(views, means, (), text_mean, word_mean, words)
        rows = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:SAMPLE])
        parts = np.array_split(rows, -(-len(rows) // 512))
        axes = []
        for view, columns in enumerate(map(sum, views)):

            def tables(view: int = view) -> Iterator[Floats]:
                return (unreduced._blocks(pictures[part])[view] for part in parts)

            axes.append(principal_axes(tables, columns, min(most, columns, len(rows)), seed))
        return cls(views, means, tuple(axes), text_mean, word_mean, words)

    def pictures(self, raw: Raw) -> list[Floats]:
        """Features of pictures by each view, G x [n D]."""
        reduced = []
        for axes, blocks in zip(map(torch.from_numpy, self.axes), self._blocks(raw)):
            with one_thread():
                rows = in_blocks(
                    lambda part, axes=axes: torch.nn.functional.normalize(part @ axes, dim=1), blocks
                )
            reduced.append(rows.numpy())
        return reduced

    def _blocks(self, raw: Raw) -> list[Floats]:
        """Raw features of each view without their means, every block of a view of the same length, a view of length 1."""
        centred = raw.astype(np.float32) - self.means
        start, blocks = 0, []
        for widths in self.views:
            first = start
            for width in widths:
                block = centred[:, start : start + width]
                block /= np.maximum(_lengths(block), 1e-6) * np.float32(np.sqrt(len(widths)))
                start += width
            blocks.append(centred[:, first:start])
        return blocks

    def texts(self, texts: Sequence[str], raw: Raw) -> Floats:
        """Features [n E] of texts: the tower's and the words', of equal weight."""
        blocks = [unit(self.words(texts) - self.word_mean)]
        if raw.shape[1]:
            blocks.append(unit(raw.astype(np.float32) - self.text_mean))
        return np.concatenate(blocks, 1) / np.float32(np.sqrt(len(blocks)))

    def save(self, folder: Path, name: str) -> None:
        """Write the space to files of a folder whose names begin with `name`."""
        arrays = {
            "widths": np.concatenate(self.views), "views": np.array([len(view) for view in self.views]), "means": self.means, "text_mean": self.text_mean, "word_mean": self.word_mean,
            "word_weights": self.words.weights, "word_axes": self.words.axes,
            **{f"axes.{view}": axes for view, axes in enumerate(self.axes)},
        }  # fmt: skip
        with atomic_write(folder / f"{name}.json", replace=True) as file:
            file.write(self.words.json.encode())
        with atomic_write(folder / f"{name}.safetensors", replace=True) as file:
            file.write(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    @classmethod
    def load(cls, folder: Path, name: str) -> FeatureSpace:
        """The inverse of `save`. ValueError for arrays that do not fit together."""
        arrays = load_file(folder / f"{name}.safetensors")
        vocabulary = json.loads((folder / f"{name}.json").read_text("utf-8"))
        if not isinstance(vocabulary, list) or not all(isinstance(word, str) for word in vocabulary):
            raise ValueError(f"{name}.json is no list of words")
        if arrays["widths"].ndim != 1 or arrays["views"].ndim != 1:
            raise ValueError("'widths' and 'views' are no lists")
        words = WordFeatures(tuple(vocabulary), arrays["word_weights"], arrays["word_axes"])
        ends = np.cumsum(arrays["views"])
        if ends[-1] != len(arrays["widths"]):
            raise ValueError(f"{len(arrays['widths'])} blocks of views that have {ends[-1]}")
        views = tuple(tuple(view.tolist()) for view in np.split(arrays["widths"], ends[:-1]))
        demand_shapes(
            arrays, {"means": "R", "text_mean": "T", "word_mean": "E", "word_weights": "V", "word_axes": "V E"},
            R=sum(map(sum, views)), V=len(vocabulary),
        )  # fmt: skip
        for view, widths in enumerate(views):
            demand_shapes(arrays, {f"axes.{view}": "r D"}, r=sum(widths))
        axes = tuple(arrays[f"axes.{view}"] for view in range(len(views)))
        return cls(views, arrays["means"], axes, arrays["text_mean"], arrays["word_mean"], words)


def together(widths: Sequence[int]) -> BlockWidths:
    """Views of a picture: hand-made features, and those of the tower where there is one. widths: of its blocks."""
    return (tuple(widths[:3]), *((width,) for width in widths[3:]))


def apart(widths: Sequence[int]) -> BlockWidths:
    """Views of a picture: each kind of hand-made features by itself, but together beside a tower."""
    return tuple((width,) for width in widths) if len(widths) <= 3 else together(widths)


def mean_texts(features: Floats, texts: Sequence[str], groups: Sequence[Sequence[str]]) -> Floats:
    """Means [n E] of the features of each group of texts. features: of the distinct texts, in this order."""
    place = {text: at for at, text in enumerate(texts)}
    return np.stack([features[[place[text] for text in group]].mean(0) for group in groups])


def _lengths(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return lengths
