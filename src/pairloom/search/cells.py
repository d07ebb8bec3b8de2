"""Inverted lists (faiss IVF) over the vectors, for collections too large to scan. Optional: the `search` extra.

The candidates of the lists are scored again with the fp32 vectors. The number of lists that a query visits is chosen when
they are built, by comparison with the exact scan. Does not know: keys, texts, models.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pairloom.data.disk import atomic_write
from pairloom.errors import Mistake
from pairloom.search.store import Store
from pairloom.search.vectors import Vectors, best_of

FILE = "vectors.faiss"
LIMIT = 2_000_000  # up to so many pictures the exact scan is fast enough
WIDER = 8  # candidates of the lists for each answer
RECALL = 0.985  # of the ten best; the number of visited lists is chosen to reach it
TRAINING = 40  # vectors for each list from which the centres are learned
PROBES = (4, 8, 16, 32, 64, 128, 256)


def build(store: Store, many: bool | None) -> dict[str, Any]:
    """Build the lists where they are needed and missing. Returns the numbers of lists and probes, and the recall; empty
    where no lists are needed.

    many: True: for any size; False: none, and existing ones are removed; None: for an index that has lists already, and past
    LIMIT pictures. Mistake without faiss.
    """
    if many is False and store.fact("cells"):
        store.record(cells=None)
        (store.where / FILE).unlink(missing_ok=True)
    wanted = many or (many is None and (store.fact("cells") or len(store) > LIMIT))
    if not wanted or not len(store):
        return {}
    held = store.fact("cells") or {}
    if held.get("changes") == store.fact("changes") and (store.where / FILE).is_file():
        return dict(held)
    vectors = store.vectors()
    lists = make(vectors, store.where / FILE, store.free())
    facts = {**lists, "changes": store.fact("changes")}
    store.record(cells=facts)
    return facts


def make(vectors: Vectors, file: Path, dead: Tensor | None = None) -> dict[str, Any]:
    """Build and write the lists of these vectors. Returns the numbers of lists and probes, and the recall (of the ten best,
    over 200 vectors)."""
    faiss = _faiss()
    lists = max(1, min(int(vectors.rows**0.5), vectors.rows // TRAINING))
    centres = faiss.IndexFlatIP(vectors.width)
    index = faiss.IndexIVFScalarQuantizer(
        centres, vectors.width, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    some = torch.linspace(
        0, vectors.rows - 1, min(vectors.rows, TRAINING * lists), dtype=torch.float64
    ).long()
    index.train(vectors.fine[some].numpy())
    for part in torch.arange(vectors.rows).split(1 << 16):
        index.add(vectors.fine[part].numpy())
    with atomic_write(file, replace=True) as opened:
        faiss.write_index(index, faiss.PyCallbackIOWriter(opened.write))
    return {"lists": lists, **_measured(vectors, Cells(file, vectors), lists, dead)}


def _measured(vectors: Vectors, cells: Cells, lists: int, dead: Tensor | None) -> dict[str, Any]:
    """The smallest number of visited lists that reaches RECALL. Queries are vectors of the set moved to a cosine of .7, since
    the embeddings of texts lie apart from those of pictures."""
    random = torch.Generator().manual_seed(0)
    rows = torch.linspace(0, vectors.rows - 1, min(vectors.rows, 200), dtype=torch.float64).long()
    noise = torch.randn(len(rows), vectors.width, generator=random) / vectors.width**0.5
    queries = torch.nn.functional.normalize(vectors.fine[rows] + noise, dim=1)
    truth = [set(vectors.top(query, 10, dead)[0][:10].tolist()) for query in queries]
    recall = 0.0
    for probes in PROBES:
        cells.probes = min(probes, lists)
        neighbours = [set(cells.top(query, 10, dead)[0][:10].tolist()) for query in queries]
        recall = sum(len(one & other) for one, other in zip(neighbours, truth)) / max(1, sum(map(len, truth)))
        if recall >= RECALL or probes >= lists:
            break
    return {"probes": cells.probes, "recall": recall}


class Cells:
    """Inverted lists of a file, memory-mapped. probes: number of lists that a query visits."""

    def __init__(self, file: Path, vectors: Vectors, probes: int = 16) -> None:
        self.file, self.vectors, self.probes = file, vectors, probes

    @cached_property
    def index(self) -> Any:
        faiss = _faiss()
        try:
            return faiss.read_index(str(self.file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise Mistake(
                f"{self.file} cannot be read.",
                "It is not whole.",
                "Remove that file: the exact scan is used without it.",
            ) from error

    def top(self, query: Tensor, count: int, dead: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Approximate `Vectors.top`, from the lists nearest to the query; the rows are almost always the same."""
        faiss = _faiss()
        gone = 0 if dead is None else len(dead)
        options = faiss.SearchParametersIVF(nprobe=self.probes)
        wanted = min(count * WIDER + gone, self.vectors.rows)
        _, nearest = self.index.search(query.float().numpy()[None], wanted, params=options)
        rows = torch.from_numpy(nearest[0])
        rows = rows[rows >= 0]
        if gone:
            rows = rows[~torch.isin(rows, dead)]
        return best_of(rows, self.vectors.scores(rows, query), count)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise Mistake(
            "Collections of this size are searched with faiss, which is not installed.",
            "",
            "pip install 'pairloom[search]'",
        ) from error
    return faiss
