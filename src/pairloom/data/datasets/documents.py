"""Documents: texts and pictures in turn, cut into rows of as many tokens and pictures as a system takes; pairs are documents
of one picture (Alayrac et al., 2022, section 2.4 and appendix A.3).

A row is [CLS] text <|endofchunk|> <image> text <|endofchunk|> ... [SEP]. Where a system's `next_image` says so, each row is
also told with every mark before the text that precedes its picture, and one of the two is drawn in every epoch.
A long document becomes several rows, of which nothing is left out; the paper draws one of them at random.

K rows, N pictures of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy

from pairloom.data.asked import kind_of, open_examples
from pairloom.data.index import DecodedImages, ImageIndex
from pairloom.data.loader import Loader, NumberColumn, PixelColumn, TextColumn, TextTable
from pairloom.data.order import Rows
from pairloom.data.pair import Document, Pair
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake

Piece = tuple[list[int], int]  # the ids of a text, and the picture before it (-1: none)


class Dataset:
    """Dataset adapter (see `data/datasets`)."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        self.index = ImageIndex(folder)
        self.documents: list[tuple[tuple[str, ...], list[int]]] = []
        places: dict[str, int] = {}
        for texts, images, problem in _documents(path):
            if problem or not any(texts):
                self.index.skipped[(problem or "no text").partition(":")[0]] += 1
                continue
            for key, blob in images:
                if key not in places:
                    places[key] = self.index.place(blob, key)
            self.documents.append((texts, [places[key] for key, _ in images]))
        if not self.documents:
            reasons = "; ".join(f"{count}: {why}" for why, count in self.index.skipped.most_common(3))
            raise Mistake("There is nothing to learn from.", reasons or f"{path} is empty.", "Check the set.")
        self.count = sum(len(texts) for texts, _ in self.documents)

    def words(self) -> Iterable[list[str]]:
        return ([text for text in texts if text] for texts, _ in self.documents)

    def split(self, share: float) -> tuple[Rows, Rows]:
        """Documents by the content of their first picture."""
        key = numpy.asarray(self.index.key)[[pictures[0] for _, pictures in self.documents]]
        held = key % 1_000_003 < share * 1_000_003
        return numpy.flatnonzero(~held), numpy.flatnonzero(held)

    def loader(
        self, tokens: Tokens, config: Any, pixels: Transform, rows: Rows, training: bool, workers: int
    ) -> Loader:
        """Each row once in every epoch. rows: of the documents."""
        cut_rows: list[tuple[list[list[int]], list[int]]] = []
        for document in rows:
            texts, pictures = self.documents[document]
            cut_rows += cut(texts, pictures, tokens, config)
        most = max(len(pictures) for _, pictures in cut_rows)
        ids = [version for versions, _ in cut_rows for version in versions]
        start = numpy.cumsum([0, *map(len, ids)])
        first = numpy.cumsum([0, *(len(versions) for versions, _ in cut_rows)])
        table = TextTable(
            numpy.concatenate([numpy.asarray(one, numpy.int32) for one in ids]),
            start,
            first,
            numpy.zeros(len(ids), bool),
            tokens.pad,
        )
        # a row with fewer pictures shows its last again, which no mark points at
        shown = [[*pictures, *[pictures[-1]] * (most - len(pictures))] for _, pictures in cut_rows]
        shows = numpy.repeat(numpy.asarray(shown, numpy.int64), numpy.diff(first), axis=0)
        pictures = DecodedImages(self.index, pixels, training)
        columns = (PixelColumn(pictures, table.sided, shows), TextColumn(table), NumberColumn("image_ids"))
        return Loader(columns, table, workers=workers)


def cut(
    texts: tuple[str, ...], pictures: list[int], tokens: Tokens, config: Any
) -> Iterator[tuple[list[list[int]], list[int]]]:
    """Rows of at most config.length tokens and config.images pictures: each in one version or two, and its pictures. A text
    that is longer than a row is cut; one that would be shown no picture is left out."""
    room = config.length - 4
    coded = [ids[:room] for ids in tokens.bare(texts)]
    pieces: list[Piece] = [(coded[0], -1)] if coded[0] else []
    pieces += list(zip(coded[1:], pictures))
    waiting: list[Piece] = []
    for piece in pieces:
        size = sum(len(words) + 2 for words, _ in [*waiting, piece]) + 2
        shown = sum(picture >= 0 for _, picture in [*waiting, piece])
        if waiting and (size > config.length or shown > config.images):
            yield from _row(waiting, tokens, config)
            waiting = []
        waiting.append(piece)
    yield from _row(waiting, tokens, config)


def _row(pieces: list[Piece], tokens: Tokens, config: Any) -> Iterator[tuple[list[list[int]], list[int]]]:
    pictures = [picture for _, picture in pieces if picture >= 0]
    if not pictures:
        return
    mark, end = tokens.id("image"), tokens.id("end")
    here, ahead = [tokens.cls], [tokens.cls]
    marks = [picture >= 0 for _, picture in pieces]
    for at, (words, _) in enumerate(pieces):
        text = [*words, end] if words else []
        here += [mark] * marks[at] + text
        before = marks[at + 1] if at + 1 < len(pieces) else False
        ahead += [mark] * (before + (at == 0 and marks[0])) + text
    versions = [[*here, tokens.sep], [*ahead, tokens.sep]]
    yield (versions if config.next_image and here != ahead else versions[:1]), pictures


def _documents(path: Path) -> Iterator[tuple[tuple[str, ...], list[tuple[str, Any]], str]]:
    """Texts, pictures with their keys, and what is wrong, of every document; of a set of pairs, each text of each pair."""
    if path.exists() and kind_of(path)[0] == "documents":
        for one in open_examples(path, "documents"):
            assert isinstance(one, Document)
            yield one.texts, list(zip(one.image_keys, one.images)), one.problem
        return
    for pair in open_set(path).pairs():
        yield from _pair(pair)


def _pair(pair: Pair) -> Iterator[tuple[tuple[str, ...], list[tuple[str, Any]], str]]:
    if pair.problem or not pair.texts:
        yield (), [], pair.problem or "no text"
    for text in () if pair.problem else pair.texts:
        yield ("", text.text), [(pair.image_key, pair.image)], ""
