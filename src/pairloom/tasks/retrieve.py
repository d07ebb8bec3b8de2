"""Image-text retrieval: all pictures against all texts of a corpus, by cosine, with the match head re-ranking the best (BLIP,
section 4.1).

The order is image-major: each picture is encoded once, and its keys and values are computed once for all texts of both
directions; a pair of both directions is scored once; a string is read once, however many pictures have it.

D distinct texts, E shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from pairloom import verbs
from pairloom.data.batch import Batch, Texts
from pairloom.data.disk import atomic_write
from pairloom.data.index import ImageIndex
from pairloom.data.loader import TextTable
from pairloom.data.nested import tensors_in
from pairloom.data.pair import Pair
from pairloom.data.pixels import Unreadable
from pairloom.data.region_set import RegionSet
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.numbers import finite
from pairloom.model.pictures import look
from pairloom.tasks.judge import judge
from pairloom.tasks.ranking import Floats, RetrievalSettings, Retrieved, Rows
from pairloom.verbs import ways

SPAN = 64  # pictures of a part
GROUP = 8  # pictures in memory at once
KEPT = 1 << 30  # bytes of encoded pictures that are kept for the match head; the others are encoded again
FULL = 1_000_000  # most pairs that a system without an embedding scores


class ClassOne:
    """Wrapper of a system whose match is the raw logit of class 1."""

    abilities = (verbs.MATCH,)

    def __init__(self, system: verbs.MatchesInTwo) -> None:
        self.system = system

    def encode_image(self, batch: Batch) -> Batch:
        return self.system.encode_image(batch) if isinstance(self.system, verbs.Sees) else batch

    def match(self, batch: Batch) -> Tensor:
        return self.system.match_logits(batch)[:, 1]


@dataclass
class Corpus:
    """A corpus: pictures and their texts. skipped: number of left-out pairs by reason."""

    index: ImageIndex
    names: list[str]

    @classmethod
    def of(cls, pairs: Iterable[Pair], regions: RegionSet | None = None) -> Corpus:
        """Read a set into a corpus. regions: of its pictures, for a model that reads those. Mistake where it has no pairs to rank."""
        index, names = ImageIndex(regions=regions), []
        for pair in pairs:
            before = len(index)
            index.add(pair)
            names += [pair.name] * (len(index) - before)
        if not names:
            index.demand_joined()
            why = "; ".join(f"{count} pairs: {reason}" for reason, count in index.skipped.most_common(3))
            raise Mistake(
                "There is nothing to rank.", why or "The set has no pairs.", "pairloom check PAIRS says more."
            )
        return cls(index, names)

    def look(self, row: int, model: Model) -> Any:
        """What the model reads of a picture. Raises OSError or Unreadable."""
        index = self.index
        names = index.records[row : row + 1] if index.regions is not None else []
        return look(model, names, partial(index.read, row))


class Retriever:
    """Retrieval with one model on one corpus. parts: a folder for finished parts, from which a later run resumes; None: none.

    tell(step, done, total) is called after each part. Mistake where the model does not support the settings.
    """

    def __init__(
        self,
        model: Model,
        corpus: Corpus,
        settings: RetrievalSettings,
        parts: Path | None = None,
        tell: Callable[[str, int, int], None] = lambda step, done, total: None,
    ) -> None:
        self.model, self.corpus, self.settings, self.parts, self.tell = (
            model.eval(),
            corpus,
            settings,
            parts,
            tell,
        )
        self.able = ways(model.system)
        self.kept: dict[int, list[Batch]] = {}
        self.room = KEPT
        verbs.demand_way(model.system)
        published = {"match head", "cosine"} <= set(self.able) and isinstance(
            model.system, verbs.MatchesInTwo
        )
        if settings.published and not published:
            why = "BLIP's protocol needs an embedding and the two logits of a match head."
            raise Mistake("This model cannot follow that protocol.", why, "Leave out --protocol.")

    @torch.no_grad()
    def run(self) -> Retrieved:
        """Embed every picture and text, and score the pairs that the match head re-ranks."""
        spans = range(0, len(self.corpus.names), SPAN)
        encoded = [self._look(first, len(spans)) for first in spans]
        rows = numpy.concatenate([rows for rows, _ in encoded])
        if not len(rows):
            raise Mistake("Not one picture can be read.", "", "pairloom check PAIRS says more.")
        retrieved = self._gather(rows, [vectors for _, vectors in encoded])
        if "cosine" not in self.able:
            pairs = len(retrieved.ids) * len(retrieved.strings)
            if pairs > FULL:
                why = f"{pairs:,} pairs would be scored one by one, since the model has no embedding to choose from."
                raise Mistake(
                    "This corpus is too large for that model.", why, f"Give at most {FULL:,} pairs."
                )
            retrieved.codes = numpy.arange(pairs)
        elif "match head" in self.able:
            retrieved.codes = retrieved.wanted()
        if len(retrieved.codes):
            retrieved.values = self._match(retrieved, [len(rows) for rows, _ in encoded], rows)
        return retrieved

    def _gather(self, rows: Rows, vectors: list[Tensor | None]) -> Retrieved:
        usable = set(rows.tolist())
        words = [texts for row, texts in enumerate(self.corpus.index.words()) if row in usable]
        flat = [text for texts in words for text in texts]
        number = {text: at for at, text in enumerate(dict.fromkeys(flat))}
        self.table = TextTable.of(self.model.tokens, ([text] for text in number), self.model.config.length)
        lost = set(range(len(self.corpus.names))) - usable
        return Retrieved(
            self.settings,
            [self.corpus.names[row] for row in rows],
            self.corpus.index.ids()[rows],
            numpy.repeat(numpy.arange(len(words)), [len(texts) for texts in words]),
            numpy.array([number[text] for text in flat]),
            list(number),
            torch.cat([part for part in vectors if part is not None]) if "cosine" in self.able else None,
            self._read(len(number)) if "cosine" in self.able else None,
            broken={self.corpus.names[row]: self._why(row) for row in sorted(lost)},
        )

    def _why(self, row: int) -> str:
        try:
            self.corpus.look(row, self.model)
        except (OSError, Unreadable) as error:
            return str(error)
        return "could not be read before"

    def _read(self, count: int) -> Tensor:
        """Embeddings [D E] of the distinct texts, those of one length together."""
        order = numpy.argsort(self.table.lengths, kind="stable")
        by_row: dict[int, Tensor] = {}
        for at in range(0, count, 256):
            chosen = order[at : at + 256]
            vectors = self.model.system.embed_text(self._texts(chosen))
            by_row.update(zip(chosen.tolist(), finite(vectors.float().cpu(), "embeddings")))
        return torch.stack([by_row[at] for at in range(count)])

    def _texts(self, chosen: Rows) -> Batch:
        texts = Texts(*self.table.take(chosen, int(self.table.lengths[chosen].max())))
        return Batch(texts=texts.to(self.model.device))

    def _look(self, first: int, spans: int) -> tuple[Rows, Tensor | None]:
        """Readable rows of a span and their embeddings; their encodings are kept while there is memory."""
        part = self.parts / f"look-{first:09d}.npz" if self.parts else None
        if part is not None and part.exists():
            held = numpy.load(part)
            self.tell("look", 1, spans)
            return held["rows"], torch.from_numpy(held["vectors"]) if "cosine" in self.able else None
        rows, vectors, seen = [], [], []
        for chosen, batch in self._batches(range(first, min(first + SPAN, len(self.corpus.names)))):
            rows += chosen
            if isinstance(self.model.system, verbs.Sees):
                batch = self.model.system.encode_image(batch)
            if "cosine" in self.able:
                vectors.append(finite(self.model.system.embed_image(batch).float().cpu(), "embeddings"))
            if "match head" in self.able:
                seen.append(batch if batch.encoded is None else replace(batch, images=None, regions=None))
        if (size := sum(tensor.nbytes for tensor in tensors_in(seen))) <= self.room:
            self.room -= size
            self.kept[first] = seen
        embedded = (
            torch.cat(vectors) if vectors else torch.zeros(0, getattr(self.model.config, "embedding", 0))
        )
        if part is not None:
            with atomic_write(part) as file:
                numpy.savez(file, rows=numpy.array(rows, numpy.int64), vectors=embedded.numpy())
        self.tell("look", 1, spans)
        return numpy.array(rows, numpy.int64), embedded if "cosine" in self.able else None

    def _batches(self, rows: Iterable[int]) -> Iterator[tuple[list[int], Batch]]:
        """Batches of GROUP readable pictures, in order."""
        waiting: list[tuple[int, Any]] = []
        for row in rows:
            try:
                waiting.append((row, self.corpus.look(row, self.model)))
            except (OSError, Unreadable):
                continue
            if len(waiting) == GROUP:
                yield [row for row, _ in waiting], self.model.batch([image for _, image in waiting])
                waiting = []
        if waiting:
            yield [row for row, _ in waiting], self.model.batch([image for _, image in waiting])

    def _match(self, retrieved: Retrieved, counts: list[int], rows: Rows) -> Floats:
        """Scores of `made.codes`, span by span."""
        matches, begin = [], 0
        for number, count in enumerate(counts):
            low, high = numpy.searchsorted(
                retrieved.codes, numpy.array([begin, begin + count]) * len(retrieved.strings)
            )
            codes = retrieved.codes[low:high] - begin * len(retrieved.strings)
            part = self.parts / f"match-{number * SPAN:09d}.npy" if self.parts else None
            if part is not None and part.exists():
                values = numpy.load(part)
            else:
                values = self._match_span(
                    number * SPAN, rows[begin : begin + count], codes, len(retrieved.strings)
                )
                if part is not None:
                    with atomic_write(part) as file:
                        numpy.save(file, values)
            matches.append(values)
            self.kept.pop(number * SPAN, None)  # with its keys and values
            self.tell("match", 1, len(counts))
            begin += count
        return numpy.concatenate(matches)

    def _match_span(self, first: int, rows: Rows, codes: Rows, strings: int) -> Floats:
        system = ClassOne(self.model.system) if self.settings.published else self.model.system
        groups = self.kept.get(first) or (batch for _, batch in self._batches(rows.tolist()))
        values, begin = [], 0
        for batch in groups:
            count = min(GROUP, len(rows) - begin)
            inside = codes[(codes >= begin * strings) & (codes < (begin + count) * strings)] - begin * strings
            texts = self._texts(inside % strings)
            owner = torch.from_numpy(inside // strings).to(self.model.device)
            whole = replace(batch, texts=texts.texts, image_of=owner)
            values.append(judge(system, whole, self._way())[0].double().cpu().numpy())
            begin += count
        return numpy.concatenate(values) if values else numpy.zeros(0)

    def _way(self) -> str:
        return "match head" if "match head" in self.able else self.able[0]
