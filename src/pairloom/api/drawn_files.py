"""Pictures drawn into a folder: one PNG for each text and number, a contact sheet and a list. What is there is not drawn again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.api.contact_sheet import contact_sheet
from pairloom.api.drawing import DrawingOptions, drawing_of
from pairloom.api.inputs import Texts, text_list
from pairloom.api.results import Drawing, is_drawn, png_record
from pairloom.data.disk import atomic_write, json_bytes, taken, unwritable
from pairloom.data.pair import content_hash
from pairloom.data.prompts import Prompt, read_prompts
from pairloom.errors import Mistake
from pairloom.tasks.best_of import PictureRequest, draw_best, picture_requests
from pairloom.tasks.draw import problem_of

if TYPE_CHECKING:
    from pairloom.api.jobs import ModelJobs

SHEET, LIST = "contact_sheet.png", "drawn.json"
SHOWN = 200  # most pictures of a sheet
Row = dict[str, Any]


def wanted_texts(texts: Texts, prompts: Path | str | None, text_column: str) -> list[str] | list[Prompt]:
    """The texts, or those of a file of prompts. Mistake for both or neither."""
    if bool(texts) == bool(prompts):
        raise Mistake("What is to be drawn?", "", "Give one or more texts, or --prompts FILE.")
    return read_prompts(Path(prompts), text_column) if prompts else text_list(texts)


class DrawnFiles:
    """Draws as it is iterated; yields the row of each new picture, {"text", "number", "picture", "seed", "score", "candidates"}, or
    {"text", "problem"}.

    rows: of all in their order, once it has been iterated; done: pictures that were there before; left: rows that it will yield; note: what
    the user should know, "" for nothing. Of a file of prompts a bad one is a row with a problem; otherwise it is a Mistake.
    """

    def __init__(
        self, model: ModelJobs, prompts: Sequence[Prompt | str], out: Path, options: DrawingOptions
    ) -> None:
        self.model, self.out, self.options = model, out, options
        self._origin = options.drawn_with(model)
        self._problems: list[Row] = []
        texts: list[str] = []
        for prompt in prompts:
            text, problem = (prompt, "") if isinstance(prompt, str) else (prompt.text, prompt.problem)
            mistake = None if problem else problem_of(model, text)
            if mistake is not None and isinstance(prompt, str):
                raise mistake
            problem = problem or " ".join(str(mistake).split("\n") if mistake else ())
            if problem:
                self._problems.append({"text": text, "problem": problem})
            else:
                texts.append(text)
        distinct = list(dict.fromkeys(texts))
        every = picture_requests(distinct, options.several, options.best, options.seed)
        self.lenient = any(isinstance(prompt, Prompt) for prompt in prompts)
        self.files = {(one.text, one.number): out / self._name(one) for one in every}
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(out, error) from error
        for file in (out / SHEET, out / LIST):
            _demand_ours(file)
        self._left = [one for one in every if not self.files[one.text, one.number].exists()]
        self.done, self.left = len(every) - len(self._left), len(self._left) + len(self._problems)
        self.rows: list[Row] = []
        notes = options.notes(model, distinct)
        if self.done:
            notes.append(f"{self.done} of {len(every)} already done in {out}")
        self.note = "; ".join(notes)

    def _name(self, wanted: PictureRequest) -> str:
        """Another picture has another name: it depends on the text, the number, and all that `drawn_with` has."""
        about = json.dumps({**self._origin, "pairloom": ""}, sort_keys=True).encode()
        return f"{content_hash(wanted.text.encode(), about)[:12]}-{wanted.number}.png"

    def __iter__(self) -> Iterator[Row]:
        problems = list(self._problems)
        yield from problems
        o = self.options
        pictures = draw_best(self.model, self._left, o.sampling, o.group, o.begin, o.judge)
        for wanted, picture in zip(self._left, pictures):
            if isinstance(picture, Mistake):
                if not self.lenient:
                    raise picture
                del self.files[wanted.text, wanted.number]
                problems.append({"text": wanted.text, "number": wanted.number, "problem": " ".join(str(picture).split("\n"))})  # fmt: skip
                yield problems[-1]
                continue
            file, drawing = self.files[wanted.text, wanted.number], drawing_of(wanted, picture, self._origin)
            with atomic_write(file) as stream:
                drawing.write_png(stream)
            yield _row(file, drawing.record)
        self.rows = [_row(file, png_record(file)) for file in self.files.values()] + problems
        self._finish()

    @property
    def failed(self) -> int:
        """How many prompts or pictures could not be drawn."""
        return sum("problem" in row for row in self.rows)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of the result for people."""
        judged = ["score"] if self.options.judge is not None else []
        columns = ["text", "number", "picture", *judged, *(["problem"] if self.failed else [])]
        return columns, [[row.get(name, "") for name in columns] for row in self.rows]

    def _finish(self) -> None:
        """Write the list of the pictures and the contact sheet."""
        rows = [row for row in self.rows if "picture" in row]
        with atomic_write(self.out / LIST, replace=True) as stream:
            stream.write(json_bytes({"drawn_with": self._origin, "pictures": self.rows}))
        if rows:
            entries = [(Path(row["picture"]), row) for row in rows[:SHOWN]]
            sheet = contact_sheet(entries, len(rows), self.options.several)
            with atomic_write(self.out / SHEET, replace=True) as stream:
                Drawing("contact sheet", sheet, origin={"pictures": len(rows)}).write_png(stream)


def _row(file: Path, record: Row) -> Row:
    return {"text": record["text"], "number": record["number"], "picture": str(file), **{name: record[name] for name in ("seed", "score", "candidates") if name in record}}  # fmt: skip


def _demand_ours(file: Path) -> None:
    """Mistake where a file stands that an earlier run has not written."""
    if not file.exists():
        return
    try:
        ours = is_drawn(file) if file.suffix == ".png" else "drawn_with" in json.loads(file.read_bytes())
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise taken(file)
