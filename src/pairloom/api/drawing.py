"""Pictures drawn into a folder: one PNG for each text and number, what is there already is not drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairloom.data.disk import atomic_write, unwritable
from pairloom.data.pair import content_hash, seed_of
from pairloom.errors import Mistake
from pairloom.model.fingerprint import fingerprint
from pairloom.tasks.draw import Sampling, demand_short, draw

if TYPE_CHECKING:
    from pairloom.model import Model


class DrawnFiles:
    """Draws as it is iterated; yields the path of each new file. wanted: (text, number, file) of all; done: there before; note: what
    the user should know, "" for nothing."""

    def __init__(
        self, model: Model, texts: Sequence[str], out: Path, several: int, options: Sampling, seed: int,
        group: int,
    ) -> None:  # fmt: skip
        if min(several, group) < 1:
            raise Mistake("These options do not fit.", "--several, --steps and --group must be above 0.")
        demand_short(model, texts)
        self.model, self.options, self.seed, self.group = model, options, seed, group
        # another picture has another name
        about = repr((fingerprint(model), options, seed)).encode()
        self.wanted = [
            (text, at, out / f"{content_hash(text.encode(), about)[:12]}-{at}.png")
            for text in dict.fromkeys(texts)
            for at in range(several)
        ]
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(out, error) from error
        self._left = [one for one in self.wanted if not one[2].exists()]
        self.done = len(self.wanted) - len(self._left)
        notes = [
            f"this model draws without --{name}, which is not used" for name in options.unheard(model.system)
        ]
        if self.done:
            notes.append(f"{self.done} of {len(self.wanted)} already done in {out}")
        self.note = "; ".join(notes)

    def __iter__(self) -> Iterator[Path]:
        texts = [text for text, _, _ in self._left]
        seeds = [seed_of(text, "draw", self.seed, at) for text, at, _ in self._left]
        for image, (_, _, file) in zip(draw(self.model, texts, self.options, seeds, self.group), self._left):
            with atomic_write(file) as stream:
                image.save(stream, "PNG")
            yield file
