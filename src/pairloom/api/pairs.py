"""PairSet as a user holds it: a set of image-text pairs on disk that is iterated, checked, cleaned, or turned into tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.data.pair import Pair
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.several import open_sets
from pairloom.data.shards import PairSet as BarePairSet
from pairloom.errors import Mistake

if TYPE_CHECKING:
    from PIL import Image

    from pairloom.api.checking import CheckResult
    from pairloom.clean.capfilt import Captioner
    from pairloom.clean.picture_source import PairJudge
    from pairloom.clean.result import CleanResult


class PairSet(BarePairSet):
    """A set on disk; nothing of it is in memory. `pairloom.open` gives one. Iterating it yields every `Pair` in order."""

    @classmethod
    def of(cls, pairs: BarePairSet) -> PairSet:
        """The same set, with the methods of this class."""
        return cls(**{entry.name: getattr(pairs, entry.name) for entry in fields(pairs)})

    def __iter__(self) -> Iterator[Pair]:
        return self.pairs()

    def __repr__(self) -> str:
        return f"PairSet({str(self.path)!r}, {self.format}, {len(self.shards)} shard{'s' * (len(self.shards) != 1)})"

    def check(
        self, against: BarePairSet | str | Path | None = None, out: str | Path | None = None, *, workers: int = 0,
        restart: bool = False, tell: Any = None,
    ) -> CheckResult:  # fmt: skip
        """What is wrong with the set without any model: broken pictures, copies, spam, file names, leaks. The result has every
        finding and every group of copies as DataFrames, `.issues` and `.groups`.

        against: another set whose pictures must not be in this one. out: a new folder for the tables and a page; the same call
        goes on after a stop. workers: processes; 0: one for each core.
        """
        from pairloom.api.checking import check_pairs

        other = None if against is None else as_set(against)
        where = None if out is None else Path(out)
        return check_pairs(self, other, where, workers=workers, restart=restart, tell=tell)

    def clean(
        self, out: str | Path, judge: PairJudge | str | Path = "self", captioner: Captioner | str | Path | None = None, *,
        labels: str | Path | None = None, workers: int = 0, device: str = "auto", restart: bool = False, tell: Any = None,
        **settings: Any,
    ) -> CleanResult:  # fmt: skip
        """Find the bad pairs, rewrite or drop them by a calibrated, explained decision; the same call goes on after a stop.

        judge: "self" (trained on these very pairs, cross-fitted), a judge's or a model's folder, or a Judge. captioner: a model
        that writes, instead of the judge's. labels: a label file about this run, by which it is decided again.
        settings: false_drop=0.05, captions=True, effort=1.0 ... (docs/clean.md). The result has `.ledger`, `.report`, `.pairs`, `.counts` and `.judge()`.
        """
        from pairloom.api.cleaning import clean_pairs, clean_settings

        return clean_pairs(
            self, Path(out), clean_settings(**settings), judge=judge, captioner=captioner, labels=labels, workers=workers,
            device=device, restart=restart, tell=tell or (lambda *arguments, **more: None),
        )  # fmt: skip

    def score(
        self, model: str | Path, out: str | Path, *, workers: int = 0, speed: str = "exact", device: str = "auto",
        regions: str | Path | None = None, restart: bool = False, tell: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The score of every text against its picture, by the folder of a judge or a model, into a new .parquet file.

        regions: of the pictures (docs/regions.md), for a model that reads those. Returns how many texts were scored, how many could not be, and by which score.
        """
        from pairloom.api.inputs import demand_speed
        from pairloom.clean.score_set import score_set
        from pairloom.runtime.devices import resolve_device
        from pairloom.scale import Execution, worker_count

        execution = Execution(workers=worker_count(workers, len(self.shards)))
        silent = tell or (lambda *arguments, **more: None)
        return score_set(
            self,
            Path(model),
            Path(out),
            execution,
            restart,
            silent,
            demand_speed(speed),
            resolve_device(device),
            None if regions is None else Path(regions),
        )

    def embed(
        self, model: str | Path, out: str | Path, *, workers: int = 0, speed: str = "exact", device: str = "auto",
        restart: bool = False, tell: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The embedding of every picture by a model's folder, into a new .parquet file; goes on where it was stopped.

        Returns how many pictures were embedded, how many could not be read, and the width.
        """
        from pairloom.api.inputs import demand_speed
        from pairloom.runtime.devices import resolve_device
        from pairloom.scale import worker_count
        from pairloom.tasks.embed import embed_set

        return embed_set(
            self, model, Path(out), workers=worker_count(workers, len(self.shards)), speed=demand_speed(speed),
            device=resolve_device(device), restart=restart, tell=tell or (lambda step, done, total: None),
        )  # fmt: skip

    def index(
        self, out: str | Path, model: str | Path | None = None, *, many: bool | None = None, workers: int = 0,
        device: str = "auto", restart: bool = False, tell: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Embed the pictures once and keep them for searching (`pairloom.search.open`); again, it takes in what is new and
        takes out what has gone. model: one that embeds; by default the index's own."""
        from pairloom.api.indexing import index_set

        return index_set(
            self, Path(out), model, many=many, workers=workers, device=device, restart=restart,
            tell=tell or (lambda done, bad: None),
        )  # fmt: skip

    def rows(self, images: bool = False) -> Iterator[dict[str, Any]]:
        """A row for each text: key, name, text, source, problem; with images the decoded picture too, None where there is
        none. A pair without a text has one row, whose text is None."""
        for pair in self.pairs():
            texts: list[tuple[str | None, str | None]] = [(text.text, text.source) for text in pair.texts]
            shown = {"image": _picture(pair)} if images else {}
            for text, source in texts or [(None, None)]:
                yield {
                    "key": pair.key,
                    "name": pair.name,
                    "text": text,
                    "source": source,
                    "problem": pair.problem,
                    **shown,
                }

    def to_pandas(self) -> Any:
        """A pandas DataFrame of `rows`: a row for each text. Mistake where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise _absent("pandas") from error
        columns = ["key", "name", "text", "source", "problem"]
        return pandas.DataFrame(list(self.rows()), columns=columns)

    def to_datasets(self) -> Any:
        """A Dataset of Hugging Face's `datasets` with columns image, text, key, name, source, problem, read lazily into its
        cache. Mistake where datasets is not installed."""
        try:
            import datasets
        except ImportError as error:
            raise _absent("datasets") from error
        text = {name: datasets.Value("string") for name in ("text", "key", "name", "source", "problem")}
        features = datasets.Features({"image": datasets.Image(), **text})
        return datasets.Dataset.from_generator(self.rows, features, gen_kwargs={"images": True})


def as_set(source: BarePairSet | str | Path) -> BarePairSet:
    """The set at a path, or the set that is handed in."""
    return source if isinstance(source, BarePairSet) else open_sets(source)


def example_pairs(
    examples: BarePairSet | str | Path | Iterable[tuple[Any, str]],
) -> tuple[list[Any], list[str]]:
    """Pictures and the answer to each: the first text of every pair whose picture can be read, or the tuples handed in.
    Mistake where there is none."""
    from pairloom.api.inputs import open_picture

    if not isinstance(examples, (BarePairSet, str, Path)):
        rows = [(open_picture(picture), str(answer)) for picture, answer in examples]
    else:
        shown = (
            (_picture(pair), pair) for pair in as_set(examples).pairs() if pair.texts and not pair.problem
        )
        rows = [(picture, pair.texts[0].text) for picture, pair in shown if picture is not None]
    if not rows:
        where = "the list" if not isinstance(examples, (str, Path)) else examples
        raise Mistake(f"{where} has no examples.", "No pair with a readable picture and a text.", "")
    return [picture for picture, _ in rows], [answer for _, answer in rows]


def _picture(pair: Pair) -> Image.Image | None:
    try:
        return open_image(pair.image.read())
    except (OSError, Unreadable):
        return None


def _absent(package: str) -> Mistake:
    return Mistake(f"{package} is not installed.", "Only this method needs it.", f"pip install {package}")
