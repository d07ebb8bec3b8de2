"""Fit of single words: for every word of a text, the log-odds that it is wrong of the picture.

The evidence about a word, from every view of the pictures: how much likelier the picture makes it than it is anyway (ridge
regression to the words of the picture's texts), beside the word's reliability, since no picture tells "the"; and how near its
features are to those that the picture's texts should have. From the text: how much likelier the other words make it (EASE, Steck
2019: ridge regression of every word on all others); or from writers, where there are some: how much likelier it is than the
likeliest other word of its class, given the words before it and the picture. Logistic regression on these and their products weighs them by texts of
the set with one word exchanged, cross-fitted.

Does not know: files of a set, thresholds.

n requests (a word of a text and a picture), m pictures, V words of the lexicon, E features of a text, G views, K folds, P columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pairloom.regression.lexicon import Lexicon
from pairloom.regression.logistic import fit_logistic
from pairloom.regression.ridge import Floats, Ridge, in_blocks

Table = NDArray[np.float64]
# of each text: place of a word -> a writer's log-ratios, to new words of its class and to others of the text
Ratios = Sequence[Mapping[int, tuple[float, float]]]
VISIBLE = 0.1  # least reliability (AUROC - .5) of a word that is judged
PRIOR, STRENGTH = 0.05, 10.0  # reliability of a word before it is measured, and rows that this counts as
LOWEST = 0.02  # a prediction counts as at least this share of the word's frequency
CONTEXT = 200.0  # penalty of the regression of words on words
SPREAD = 5.0  # evidence beyond so many standard deviations counts as this


@dataclass(frozen=True)
class Meaning:
    """Likeness of a view's predicted text features [m E] to words, of mean 0 and deviation 1 over pictures: predicted @ features.T
    - offset. features [V E], offset [V]."""

    features: Floats
    offset: Floats

    @classmethod
    def measured(cls, predicted: Floats, words: Floats) -> Meaning:
        """From predictions [m E] for pictures of the set and the words' features [V E]."""
        cosines = predicted @ words.T
        spread = np.maximum(cosines.std(0), 1e-6)
        return cls(
            (words / spread[:, None]).astype(np.float32), (cosines.mean(0) / spread).astype(np.float32)
        )

    def __call__(self, predicted: Floats) -> Floats:
        features, offset = torch.from_numpy(self.features), torch.from_numpy(self.offset)
        likeness: Floats = in_blocks(lambda rows: rows @ features.T - offset, predicted).numpy()
        return likeness


@dataclass(frozen=True)
class WordFit:
    """Regressions from each view to words and to text features, the words' reliability [G V] and meanings, the regressions
    of words on words [K V V], and the weights [K columns] of the evidence, whose columns have these means and deviations [2 P].
    visible: words that are judged [V]. usual: the least log-ratio that writers usually give each word in the set's own texts [V], at
    most 0; [0] without writers. order: slope and intercept for each fold of the log-odds that a word is out of its place, by its log-ratio
    to the text's other words of its class [K 2], learnt from texts with two words swapped.
    """

    lexicon: Lexicon
    to_words: tuple[Ridge, ...]
    to_text: tuple[Ridge, ...]
    reliability: Table
    meanings: tuple[Meaning, ...]
    context: NDArray[np.float16]
    scale: Table
    weights: Table
    visible: NDArray[np.bool_]
    usual: Table
    order: Table

    @property
    def reads_ratios(self) -> bool:
        """Whether log-ratios of writers are part of the evidence."""
        return self.usual.size > 0

    def wrong(
        self, pictures: Sequence[Floats], owner: NDArray[np.int64], texts: Sequence[str], fold: int, ratios: Ratios | None = None
    ) -> list[list[tuple[str, float]]]:  # fmt: skip
        """Log-odds that a word is wrong, for each word that can be judged of each text, text i with picture owner[i] of
        `pictures` (G x [m D]); the worst first. ratios: of writers, where the fit has learnt from theirs."""
        judged = self.visible
        spoken = [self.lexicon.known(text) for text in texts]
        words = [[place for place in each if judged[place]] for each in spoken]
        rows = np.repeat(owner, [len(each) for each in words])
        places = np.array([place for each in words for place in each], np.int64)
        beside = np.array(
            [
                value
                for text, each in zip(spoken, words)
                for value in context_of(self.context[fold], text, each)
            ]
        )
        written = None if ratios is None else written_ratios(ratios, words)
        new = None if written is None else written[:, 0]
        odds = self.odds(self.evidence(self.seen(pictures, fold), rows, places, beside, fold, new), fold)
        if written is not None and len(self.order):
            # the order alone makes no word likelier wrong than right: good texts differ in it too
            order = np.minimum(written[:, 1] * self.order[fold, 0] + self.order[fold, 1], 0.0)
            odds = np.where(written[:, 1] < 0, np.maximum(odds, order), odds)
        results, start = [], 0
        for each in words:
            mine = odds[start : start + len(each)].tolist()
            named = [(self.lexicon.words[place], value) for place, value in zip(each, mine)]
            results.append(sorted(named, key=lambda entry: -entry[1]))
            start += len(each)
        return results

    def seen(self, pictures: Sequence[Floats], fold: int) -> list[tuple[Floats, Floats]]:
        """What each view of pictures G x [m D] says of every word: predictions [m V], and likeness of meaning [m V]."""
        return [
            (to_word.outputs(view, fold).numpy(), meaning(to_text.predict(view, fold).numpy()))
            for view, to_word, to_text, meaning in zip(pictures, self.to_words, self.to_text, self.meanings)
        ]

    def evidence(
        self, seen: Sequence[tuple[Floats, Floats]], rows: NDArray[np.int64], places: NDArray[np.int64], beside: Table, fold: int,
        written: Table | None = None,
    ) -> Table:  # fmt: skip
        """Evidence [n P] about words at these places, of pictures at these rows of `seen`, with what the other words say [n] or,
        where there are writers, their log-ratios [n]."""
        columns = []
        for (predicted, like), ridge, reliability in zip(seen, self.to_words, self.reliability):
            base = np.maximum(ridge.means[fold].numpy().astype(np.float64), 1e-4)[places]
            chance = np.clip(predicted[rows, places].astype(np.float64), LOWEST * base, 1)
            columns += [np.log(chance / base), reliability[places], like[rows, places].astype(np.float64)]
        share = self.lexicon.shares[places]
        if written is None:
            columns += [np.log(np.maximum(beside + share, 0.05 * share) / share), beside]
        else:
            # a writer reads the words before; what is merely unusual would hide what is wrong (docs/log.md)
            columns += [written, written - self.usual[places]]
        return np.stack([*columns, np.log(share)], 1)

    def odds(self, evidence: Table, fold: int) -> Table:
        """Log-odds [n] that a word is wrong."""
        table = products((evidence - self.scale[0]) / self.scale[1])
        # row by row, so that odds depend on their own word alone, to the last bit
        odds: Table = (table * self.weights[fold, :-1]).sum(1) + self.weights[fold, -1]
        return odds

    def fitted(self, evidence: Sequence[Table], wrong: Sequence[NDArray[np.bool_]]) -> WordFit:
        """With the weights for each fold from the evidence of the other folds, which of it is about wrong words [n]."""
        everything = np.concatenate(evidence)
        scale = np.stack([everything.mean(0), np.maximum(everything.std(0), 1e-6)])
        tables = [products((each - scale[0]) / scale[1]) for each in evidence]
        weights = []
        for fold in range(len(evidence)):
            rest = [other for other in range(len(evidence)) if other != fold]
            label = np.concatenate([wrong[other] for other in rest]).astype(np.float64)
            weights.append(fit_logistic(np.concatenate([tables[other] for other in rest]), label))
        return replace(self, scale=scale, weights=np.array(weights))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything but the words and the regressions to text, to be saved."""
        arrays = {
            **self.lexicon.tensors(), "reliability": self.reliability, "context": self.context, "scale": self.scale,
            "weights": self.weights, "visible": self.visible, "usual": self.usual, "order": self.order,
            **{f"{view}.{name}": array for view, each in enumerate(self.meanings) for name, array in vars(each).items()},
        }  # fmt: skip
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        for view, ridge in enumerate(self.to_words):
            tensors |= {f"{view}.coefficients": ridge.coefficients, f"{view}.means": ridge.means}
        return tensors

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], words: Sequence[str], to_text: tuple[Ridge, ...]) -> WordFit:  # fmt: skip
        """The inverse of `tensors`. to_text: the regressions to text features."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        to_words = tuple(
            Ridge(ridge.landmarks, tensors[f"{view}.coefficients"], tensors[f"{view}.means"])
            for view, ridge in enumerate(to_text)
        )
        meanings = tuple(
            Meaning(arrays[f"{view}.features"], arrays[f"{view}.offset"]) for view in range(len(to_text))
        )
        return cls(
            Lexicon.of(arrays, words), to_words, to_text, arrays["reliability"], meanings, arrays["context"],
            arrays["scale"], arrays["weights"], arrays["visible"], arrays["usual"], arrays["order"],
        )  # fmt: skip


def visible(reliability: Table) -> NDArray[np.bool_]:
    """Words that a view of the pictures tells [V], of reliability [G V]."""
    return np.asarray((reliability >= VISIBLE).any(0))


def measured_reliability(predicted: Floats, table: Floats) -> Table:
    """AUROC - .5 of each word's predictions [n V], rows that have the word [n V] over rows that have not, shrunk to PRIOR."""
    has = table > 0
    order = np.argsort(predicted, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(table) + 1)[:, None], 0)
    count = has.sum(0)
    wins = np.where(has, ranks, 0).sum(0) - count * (count + 1) / 2
    area = wins / np.maximum(count * (len(table) - count), 1)
    known = np.minimum(count, len(table) - count)
    return np.asarray(((area - 0.5) * known + PRIOR * STRENGTH) / (known + STRENGTH))


def fit_context(lexicon: Lexicon, texts: Sequence[Sequence[str]]) -> NDArray[np.float16]:
    """Regressions of words on the other words of a text, for each fold from the texts of the other folds: [K V V]."""
    rarity = -np.log(np.minimum(lexicon.shares, 1 - 1e-6))
    grams = []
    for some in texts:
        table = lexicon.table([[text] for text in some]) * rarity
        grams.append(table.T @ table)
    fits = []
    for fold in range(len(grams)):
        rest = [gram for other, gram in enumerate(grams) if other != fold] or grams
        inverse = np.linalg.inv(np.sum(rest, 0) + CONTEXT * np.eye(len(rarity)))
        fit = -inverse / np.diag(inverse)
        np.fill_diagonal(fit, 0)
        fits.append((rarity[:, None] * fit / rarity).astype(np.float16))
    return np.array(fits)


def context_of(context: NDArray[np.float16], text: Sequence[int], words: Sequence[int]) -> Table:
    """What the other words of a text say of some of its words [len(words)]; both are places."""
    chosen: Table = context[np.ix_(text, words)].astype(np.float64).sum(0)
    return chosen


def written_ratios(ratios: Ratios, words: Sequence[Sequence[int]]) -> Table:
    """Log-ratios [n 2] of writers of the words at these places of each text; 0 where they have none."""
    known = [each.get(place, (0.0, 0.0)) for each, places in zip(ratios, words) for place in places]
    return np.array(known, np.float64).reshape(-1, 2)


def products(table: Table) -> Table:
    """Columns, bounded by SPREAD, and the products of all pairs of them: [n P] -> [n P + P (P + 1) / 2]."""
    table = np.clip(table, -SPREAD, SPREAD)
    pairs = [table[:, at : at + 1] * table[:, at:] for at in range(table.shape[1])]
    return np.concatenate([table, *pairs], 1)
