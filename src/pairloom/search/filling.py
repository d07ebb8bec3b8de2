"""Indexing of a set: embed its new pictures, remove those that are gone, and resume after a kill.

Memory does not grow with the set: pairs are streamed, pictures are decoded ahead by a few threads, and one group is
committed at a time. Does not know: the files of a store, queries.

E shared embedding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from pairloom.data.batch import Batch
from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.disk import check_output, unwritable
from pairloom.data.pair import Pair
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.shards import PairSet, Shard, read
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.fingerprint import fingerprint
from pairloom.model.numbers import finite
from pairloom.search import cells, line, vectors
from pairloom.search.store import FILE, OURS, Store
from pairloom.verbs import demand

GROUP = 256  # pairs that are committed together
BATCH = 32  # pictures that are embedded together
NAMED = 20  # most unreadable pictures that are named


@dataclass
class Filled:
    """Counts of one pass over a set. problems: (name, reason) of the first unreadable pictures; line: see `line.Line`; cut: the
    pictures' texts that are longer than the model reads, of those that the line is drawn from."""

    added: int = 0
    known: int = 0
    gone: int = 0
    unreadable: int = 0
    pictures: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    line: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, Any] = field(default_factory=dict)
    cut: CutTexts = CutTexts()


def fill(
    pairs: PairSet,
    model: Model,
    where: str,
    out: Path,
    restart: bool = False,
    many: bool | None = None,
    workers: int = 2,
    tell: Callable[[int, int], None] = lambda done, bad: None,
) -> Filled:
    """Update the index at `out` to the present content of a set.

    where: path or hub id of the model, from which searches load it later. many: build inverted lists (faiss) for any size;
    None: past `cells.LIMIT` pictures. tell(done, bad) is called after each group of pairs. Mistake where the model cannot
    embed, where `out` is no index or the index of another model, and where no picture of the set can be read.
    """
    check_output(out, pairs.path)
    demand(model.system, "embed")
    if restart:
        forget(out)
    with Store.create(out) as store:
        _claim(store, model.eval(), where)
        if store.rows:
            store.vectors()  # checks the files first: rows appended after a gap would hide that the files are too short
        done, mark = Filled(), store.begin(str(pairs.path.resolve()))
        for group in _grouped(_pairs(pairs)):
            _take(group, store, model, mark, workers, done)
            tell(len(group), sum(not pair.image_key for pair, _ in group))
        _end(store, model, pairs, mark, done, many)
        return done


def _end(
    store: Store, model: Model, pairs: PairSet, mark: tuple[int, int], done: Filled, many: bool | None
) -> None:
    """Finish a complete pass: remove pictures that are gone, fit the line, build inverted lists, mark the index as whole."""
    if not done.added + done.known:
        raise Mistake(
            f"Nothing in {pairs.path} can be searched.",
            f"{done.unreadable} pictures cannot be read: {dict(done.problems) or 'the set is empty'}.",
            "pairloom check PAIRS says more.",
        )
    done.gone = store.end(mark)
    done.line = line.draw(store, model)
    texts = (text for row in store.spread(line.POOL).tolist() for text in store.texts(row)[:1])
    done.cut = cut_texts(model.tokens, texts, model.config.length)
    done.cells = cells.build(store, many)
    store.record(whole=True)
    done.pictures = len(store)


def forget(out: Path) -> None:
    """Remove an index, and nothing else. Mistake where the folder's file is not pairloom's."""
    file = out / FILE
    if not file.exists():
        return
    beside = [out / name for name in (vectors.COARSE, vectors.FINE, cells.FILE)]
    try:
        with open(file, "rb") as opened:
            ours = opened.read(72)[68:] == OURS.to_bytes(4, "big")
        if not ours and not beside[1].exists() and file.stat().st_size:
            raise Mistake(
                f"{file} is not pairloom's.", "Nothing of yours is removed.", "Name another folder."
            )
        for path in (*beside, out / f"{FILE}-journal", file):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error


def check_model(store: Store, model: Model) -> None:
    """Raise Mistake where the index was built with another model, since vectors of two models cannot be compared."""
    if store.fact("fingerprint") != fingerprint(model):
        raise Mistake(
            f"{store.where} was built with another model.",
            f"It was {store.fact('model')} ({store.fact('system')}); vectors of two models do not compare.",
            "Give that model, index into another --out, or add --restart.",
        )


def _claim(store: Store, model: Model, where: str) -> None:
    """Record the model of a new index, or check it; only the path of the model may change."""
    if store.fact("fingerprint") is None:
        width = int(model.config.embedding)
        store.record(fingerprint=fingerprint(model), width=width, system=model.name)
    check_model(store, model)
    path = Path(where)
    store.record(model=str(path.resolve()) if path.exists() else where)


def _pairs(pairs: PairSet) -> Iterator[tuple[Pair, Shard]]:
    for shard in pairs.shards:
        for pair in read(shard):
            yield pair, shard


def _grouped(pairs: Iterable[tuple[Pair, Shard]]) -> Iterator[list[tuple[Pair, Shard]]]:
    group: list[tuple[Pair, Shard]] = []
    for entry in pairs:
        group.append(entry)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def _take(
    group: list[tuple[Pair, Shard]],
    store: Store,
    model: Model,
    mark: tuple[int, int],
    workers: int,
    done: Filled,
) -> None:
    """Process one group: embed its new pictures, commit all of it, and count."""
    usable = [
        (pair, shard) for pair, shard in group if pair.image_key
    ]  # a picture without a text can be searched too
    keys = {pair.image_key for pair, _ in usable}
    held = {key for key in keys if store.row_of(key) is not None}
    barred = {key for key in keys if store.barred(key)}
    fresh = {pair.image_key: pair for pair, _ in usable if pair.image_key not in held | barred}
    vectors, broken = embed(model, fresh, workers)
    added = store.add([entry for entry in usable if entry[0].image_key not in broken], vectors, mark)
    done.added += added
    done.known += len(vectors) - added  # another process was first
    for pair, _ in group:
        problem = broken.get(pair.image_key) or (pair.problem if not pair.image_key else "")
        if problem:
            done.unreadable += 1
            done.problems += [(pair.name, problem)] if len(done.problems) < NAMED else []
        else:
            done.known += pair.image_key in held


def embed(model: Model, pairs: dict[str, Pair], workers: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Embed pictures: unit vectors [E] by key, and the reasons why the others cannot be read."""
    vectors: dict[str, Tensor] = {}
    broken: dict[str, str] = {}
    waiting: list[tuple[str, numpy.ndarray]] = []

    def look() -> None:
        if waiting:
            pixels = numpy.stack([each for _, each in waiting])
            vectors.update(zip([key for key, _ in waiting], embed_pixels(model, pixels)))
        waiting.clear()

    for key, (pixels, why) in zip(pairs, _ahead(lambda pair: _decode(model, pair), pairs.values(), workers)):
        if pixels is None:
            broken[key] = why
            continue
        waiting.append((key, pixels))
        if len(waiting) == BATCH:
            look()
    look()
    return vectors, broken


@torch.no_grad()
def embed_pixels(model: Model, pixels: numpy.ndarray) -> Tensor:
    """Embed pictures [B H W 3] uint8: vectors [B E] on the CPU."""
    images = torch.from_numpy(model.pixels.normalise(pixels)).to(model.device)
    vectors = finite(model.system.embed_image(Batch(images=images[:, None])).float().cpu(), "embeddings")
    return torch.nn.functional.normalize(vectors, dim=-1)


def pixels_of(model: Model, data: bytes) -> numpy.ndarray:
    """Pixels [H W 3] uint8 in the model's size; large JPEGs are decoded at a fraction of their size. Unreadable where that
    fails."""
    return model.pixels.to_uint8(open_image(data, shrink_to=2 * model.pixels.size))


def _decode(model: Model, pair: Pair) -> tuple[numpy.ndarray | None, str]:
    try:
        return pixels_of(model, pair.image.read()), ""
    except (OSError, Unreadable) as error:
        return None, str(error)


def _ahead(function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Map a function over items, in order, computed a few items ahead by threads."""
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="pairloom-decode") as pool:
        flying: deque[Future[Any]] = deque()
        for item in items:
            flying.append(pool.submit(function, item))
            if len(flying) > 2 * BATCH:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
