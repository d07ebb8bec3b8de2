"""Labelling in a terminal: a person is shown one text after another, and every answer is on the disk before the next.

P(match) is shown after the answer, since a number that is seen before pulls the answer towards itself.
Does not know: how lines are read and shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import BAD, GOOD, SKIPPED, LabelFile, SampledText
from pairloom.clean.label_sample import picture_of, sample_of
from pairloom.clean.recalibrate import command, with_labels
from pairloom.data.pair import content_hash
from pairloom.data.several import open_again
from pairloom.data.shards import PairSet
from pairloom.errors import Mistake

if TYPE_CHECKING:
    from pairloom.clean.result import CleanResult

KEYS = {"y": GOOD, "n": BAD, "s": SKIPPED}
BACK, QUIT = "b", "q"
HELP = (
    "Does the text describe its picture? y: yes, n: no, s: skip (counts as a yes), b: back, q: stop. "
    "Every answer is kept; the same command goes on."
)


class Labelling:
    """State of labelling: the sample, the answers so far, and the text that is asked about. file: for the answers."""

    def __init__(self, result: CleanResult, file: Path, count: int) -> None:
        """Mistake where the file exists and is not a label file of this run."""
        self.file, self.sample = file, result.label_sample(count)
        self.answers: dict[SampledText, str] = {}
        if file.exists():
            held, kept = LabelFile.load(file), KeptScores.read(result.out, result.facts)
            self.sample = sample_of(held, str(file), result.ledger.path, kept, count)
            self.answers = held.answers
        self.place = self._next()

    @property
    def current(self) -> SampledText | None:
        """The text that is asked about; None where all have an answer."""
        return self.sample.texts[self.place] if self.place < len(self.sample.texts) else None

    def answer(self, answer: str) -> None:
        """Write the answer to the current text, and go to the next one without an answer."""
        assert self.current is not None
        self.answers[self.current] = answer
        LabelFile(self.sample.origin, self.answers).save(self.file, replace=True)
        self.place = self._next()

    def back(self) -> None:
        """Go to the text before, whose answer may be changed."""
        self.place = max(0, self.place - 1)

    def _next(self) -> int:
        texts = self.sample.texts
        return next((at for at, text in enumerate(texts) if text not in self.answers), len(texts))


def label(
    result: CleanResult, file: Path, count: int, read: Callable[[str], str | None], say: Callable[[str], None]
) -> dict[str, Any]:  # fmt: skip
    """Ask about `count` texts; see `CleanResult.label`."""
    raw = result.facts["set"]
    state, pairs = Labelling(result, file, count), open_again(raw)
    say(
        f"{len(state.sample.texts):,} of the {state.sample.population:,} texts that a label can decide about, drawn at random; "
        f"{len(state.answers):,} have an answer in {file}."
    )
    if state.current is not None:
        say(HELP)
    with TemporaryDirectory(prefix="pairloom-") as folder:
        _ask(state, pairs, Path(folder), read, say)
    if not state.sample.texts:
        return {"file": str(file), "says": "No text scores below the limit, so that labels decide nothing."}
    if not {GOOD, BAD} & set(state.answers.values()):
        return {"file": str(file), "says": "No text is labelled good or bad yet."}
    again = with_labels(result.out, result.facts, file)
    return {**again.facts(), "says": again.sentence(), "command": command(result.out, result.facts, file)}


def _ask(
    state: Labelling, pairs: PairSet, folder: Path, read: Callable[[str], str | None], say: Callable[[str], None]
) -> None:  # fmt: skip
    """Ask until all texts have an answer, or the person stops. folder: for pictures that are not files of their own."""
    while (text := state.current) is not None:
        say(f"{text.number} of {len(state.sample.texts)}  {_picture(pairs, text, folder)}")
        say(f"    {text.text!r}")
        line = read("y/n/s/b/q ")
        key = QUIT if line is None else line.strip().lower()[:1]
        if key in KEYS:
            state.answer(KEYS[key])
            say(f"    {KEYS[key]}; P(match) is {state.sample.p_match[text.number - 1]:.0%}")
        elif key == BACK:
            state.back()
        elif key == QUIT:
            return
        else:
            say(HELP)


def _picture(pairs: PairSet, text: SampledText, folder: Path) -> Path:
    """The file of a text's picture; one inside a tar or a table is copied into the folder."""
    blob = picture_of(pairs, text)
    data = blob.read()
    if content_hash(data) != text.image_key:
        raise Mistake(
            f"The picture of {text.name} has changed since the set was cleaned.", "", "Clean it again."
        )
    if blob.path is not None and not blob.offset and blob.size is None:
        return blob.path.resolve()
    file = folder / f"{text.number}{Path(blob.name).suffix or '.picture'}"
    file.write_bytes(data)
    return file
