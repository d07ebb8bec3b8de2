"""Writers of the folds: models of the trained part that were taught to write, and what they say of the words of a text.

log p(word | the words before it, picture) - max log p(a word of its class | the same): a word that a writer would have exchanged
for another of its class may well be wrong. Words that the text has too are rivals of their own: they are probably in the picture, and a
writer that would have named them first says little against this one. The probabilities of all words come from one pass over the text. A writer has read no
text of the pictures of its fold.

Does not know: how it was trained, other evidence, thresholds.

n requests (a picture and a text), m pictures, K folds, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pairloom import model as models
from pairloom.blocks.tensors import tensors_of
from pairloom.clean.folds import PICTURES, TEXTS, filled
from pairloom.clean.picture_rows import encode_pixels, record_like, rows_of
from pairloom.clean.picture_source import PictureSource
from pairloom.data.batch import Batch, Texts
from pairloom.model import Model
from pairloom.regression.lexicon import Lexicon
from pairloom.regression.words import word_spans
from pairloom.runtime.threads import one_thread
from pairloom.weights import load as load_model

# place of a word in the lexicon -> its least log-ratios in a text: to words of its class that the text does not have, and to those that it
# has, at most 0
WordRatios = dict[int, tuple[float, float]]


@dataclass(frozen=True)
class Writers:
    """Writers of K folds. size: pixels a side of their pictures."""

    folds: tuple[Model, ...]
    size: int

    def ratios(
        self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str], groups: NDArray[np.int64], lexicon: Lexicon
    ) -> list[WordRatios]:  # fmt: skip
        """The log-ratio of every word of n requests (row, text) that has a class; none where a picture cannot be read. groups [n]:
        of the rows' pictures; group modulo K is the fold."""
        results: list[WordRatios] = [{} for _ in rows]
        for number, model in enumerate(self.folds):
            at = np.flatnonzero(groups % len(self.folds) == number)
            if not len(at):
                continue
            pictured, owner = np.unique(np.asarray(rows)[at], return_inverse=True)
            pixels, readable = pictures.pixels(pictured.tolist(), self.size)
            with one_thread():
                ratios_of = _Reading(model, lexicon).ratios(
                    pixels, owner, [texts[place] for place in at.tolist()]
                )
            for place, mine, ratios in zip(at.tolist(), owner.tolist(), ratios_of):
                results[place] = ratios if readable[mine] else {}
        return results

    def save(self, folder: Path) -> None:
        """Write the models to folder/0, 1, ..."""
        for number, model in enumerate(self.folds):
            models.save(model, folder / str(number))

    @classmethod
    def load(cls, folder: Path, size: int, folds: int, device: str = "cpu") -> Writers:
        """The inverse of `save`."""
        return cls(tuple(load_model(folder / str(number)).to(device).eval() for number in range(folds)), size)

    def parts(self) -> list[bytes]:
        """Everything that the ratios depend on, to be hashed."""
        return [
            tensor.detach().cpu().numpy().tobytes()
            for model in self.folds
            for tensor in tensors_of(model.system).values()
        ]


class _Reading:
    """One writer and the classes of a lexicon, by the first tokens of their words."""

    def __init__(self, model: Model, lexicon: Lexicon) -> None:
        self.model, self.lexicon = model, lexicon
        first = [ids[0] for ids in model.tokens.bare(lexicon.words)]
        self.others = [
            np.array(sorted({first[other] for other in lexicon.alike(place)} - {first[place]}), np.int64)
            for place in range(len(lexicon))
        ]

    @torch.no_grad()
    def ratios(
        self, pixels: NDArray[np.uint8], owner: NDArray[np.int64], texts: Sequence[str]
    ) -> list[WordRatios]:
        """Of texts, text i with picture owner[i] of pixels [m S S 3]. Every pass has the same shape (texts of one length, TEXTS or
        PICTURES rows), so that a ratio depends on its own picture and text alone, to the last bit."""
        encoded = [
            encode_pixels(self.model, filled(pixels[at : at + PICTURES], PICTURES))
            for at in range(0, len(pixels), PICTURES)
        ]
        rows = torch.cat([rows_of(each) for each in encoded])
        tokens, words = self.model.texts(texts), [self._words(text) for text in texts]
        lengths = tokens.mask.sum(1).cpu().numpy()
        results: list[WordRatios] = [{} for _ in texts]
        for length in np.unique(lengths):
            at = np.flatnonzero(lengths == length)
            for start in range(0, len(at), TEXTS):
                part = at[start : start + TEXTS]
                full = torch.from_numpy(filled(part, TEXTS))
                chosen = full.to(tokens.ids.device)
                batch = Batch(
                    encoded=record_like(encoded[0], rows[torch.from_numpy(owner)[full].to(rows.device)]),
                    texts=Texts(tokens.ids[chosen, :length], tokens.mask[chosen, :length]),
                    image_of=torch.arange(TEXTS, device=rows.device),
                )
                chances = self.model.system.logits(batch).float().log_softmax(-1).cpu().numpy()
                for place, mine in zip(part.tolist(), chances):
                    results[place] = self._least(mine, tokens.ids[place].tolist(), words[place], int(length))
        return results

    def _words(self, text: str) -> list[tuple[int, int]]:
        """The known words of a text that have a class, each with the number of tokens of the framed text before it."""
        known = [(self.lexicon.places.get(word), start) for word, start, _ in word_spans(text)]
        words = [(place, start) for place, start in known if place is not None and len(self.others[place])]
        before = self.model.tokens.bare([text[:start] for _, start in words])
        frame = len(self.model.tokens.prefix)
        return [(place, frame + len(ids)) for (place, _), ids in zip(words, before)]

    def _least(
        self, chances: NDArray[np.float32], ids: Sequence[int], words: Sequence[tuple[int, int]], length: int
    ) -> WordRatios:
        """The least ratios of each word. chances [T V]: log-probabilities of the token after each; length: of the text's tokens."""
        words = [(place, at) for place, at in words if at < length - 1]  # the last token ends the text
        spoken = [ids[at] for _, at in words]
        ratios: WordRatios = {}
        for place, at in words:
            row, others = chances[at - 1], self.others[place]
            same = np.isin(others, spoken)
            if same.all():
                continue
            new, order = (
                float(row[ids[at]] - row[others[one]].max(initial=-np.inf)) for one in (~same, same)
            )
            least = ratios.get(place, (new, 0.0))
            ratios[place] = min(new, least[0]), min(order, least[1])
        return ratios
