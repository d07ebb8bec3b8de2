"""Jobs of a Model over whole sources and into files: each goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.api.inputs import Texts
from pairloom.model import Model as BareModel

if TYPE_CHECKING:
    from pairloom.api.drawn_files import DrawnFiles
    from pairloom.api.lines import Lines
    from pairloom.api.retrieval import Retrieval
    from pairloom.data.shards import PairSet

Tell = Callable[[str, int, int], None]  # tell(step, done, total): how far a job is


def silent(step: str, done: int, total: int) -> None:
    """Says nothing."""


@dataclass(repr=False)
class ModelJobs(BareModel):
    """A model that knows where it was loaded from, so that a later run of a job can tell whether it is the same."""

    where: str = ""

    def _demand(self, ability: str) -> None:
        """Mistake that names what the model can do, where it has not this ability."""
        from pairloom import verbs

        verbs.demand(self.system, ability)

    def _way(self, by: str | None = None) -> str:
        """The way of scoring that `by` names, the best one without it. Mistake where the model has none such."""
        from pairloom import verbs

        return verbs.demand_way(self.system, by)

    def draw_files(
        self,
        texts: Texts,
        out: Path | str,
        *,
        prompts: Path | str | None = None,
        text_column: str = "",
        **options: Any,
    ) -> DrawnFiles:
        """`draw`, with its options, into a folder: a PNG for each text and number, as it is iterated; none is drawn twice.

        prompts: a file in place of the texts (one a line, or a table with a column of texts, `text_column`), of which a bad one is a
        row with its problem.
        """
        from pairloom.api.drawing import DrawingOptions
        from pairloom.api.drawn_files import DrawnFiles, wanted_texts

        wanted = wanted_texts(texts, prompts, text_column)
        return DrawnFiles(self, wanted, Path(out), DrawingOptions.checked(self, **options))

    def retrieve(
        self,
        pairs: PairSet | str | Path,
        *,
        protocol: str = "odds",
        k: int | None = None,
        out: Path | str | None = None,
        top: int = 10,
        restart: bool = False,
        tell: Tell = silent,
    ) -> Retrieval:
        """Rank all texts of a set for each picture and all pictures for each text: R@1, R@5, R@10, median rank and MRR.

        protocol: "odds" (ours), "blip" or "blip-flickr"; k: candidates of a query that the match head scores. out: a new
        .parquet file with the `top` best of every query.
        """
        from pairloom.api.pairs import as_set
        from pairloom.api.retrieval import retrieve

        where = None if out is None else Path(out)
        return retrieve(self, as_set(pairs), protocol, k, where, top, restart, tell)

    def save(self, where: Path | str) -> Path:
        """Write it as a folder that `pairloom.load` reads. Mistake where the folder holds something else."""
        from pairloom.model import save

        return save(self, where)

    def export(self, out: Path | str, to: str = "transformers", task: str = "") -> Path:
        """Write it in a published layout, for other libraries to load. Mistake where that layout cannot hold it."""
        from pairloom.weights.exchange import export

        return export(self, Path(out), to, task)

    def lines(
        self,
        method: str,
        source: Path | str,
        out: Path | str | None = None,
        *,
        restart: bool = False,
        **options: Any,
    ) -> Lines:
        """A method over every picture of a file, folder or set: an iterable of one dict each, in the set's order.

        method: "caption", "classify", "answer" or "prompt", with that method's options; "answer" without a question, "reason"
        and "dialog" go over the examples of a set. out: a .jsonl file that each line is appended to; what an earlier run left
        there is not done again, unless `restart`.
        """
        from pairloom.api.line_tasks import line_task
        from pairloom.api.lines import Lines
        from pairloom.api.region_source import with_own_regions

        return Lines(
            line_task(with_own_regions(self, Path(source)), method, self.where, **options),
            source,
            out,
            restart,
        )
