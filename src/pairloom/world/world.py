"""Sets of drawn pairs: scene, picture, text and the truth about the text, by index; and writing them to disk, as a folder with
same-stem .txt files or as WebDataset tars. The truth is written beside the set, never into it.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from pairloom.data.pair import seed_of
from pairloom.errors import Mistake
from pairloom.world.draw import picture
from pairloom.world.layout import sample
from pairloom.world.noise import SHARES, Truth, web_text
from pairloom.world.scene import Scene, Turn, turn_of


@dataclass(frozen=True)
class Row:
    """One drawn pair. name: the same in every set of that world, "000012"."""

    name: str
    scene: Scene
    text: str
    truth: Truth


@dataclass(frozen=True)
class World:
    """A set of `count` drawn pairs. Two worlds of different seeds share no scene (train and held-out).

    level: "simple", "medium" or "full" (level.LEVELS). size: pixels, 32 to 512. styles: the caption of each pair is in one of
    them, drawn uniformly. noise: share of the texts that are noise; shares: of each kind of noise among those.
    """

    count: int
    seed: int = 0
    level: str = "full"
    size: int = 64
    styles: tuple[str, ...] = ("full",)
    noise: float = 0.0
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))

    def scene(self, index: int) -> Scene:
        return sample(seed_of("world", self.seed, index), self.level)

    def row(self, index: int) -> Row:
        """Pair number `index`; it depends on the seed and the index alone."""
        scene = self.scene(index)
        turn = turn_of(scene.seed, "row")
        style = turn.pick(self.styles)
        text, truth = web_text(scene, self._other(index), turn, style, 0, self.noise, self.shares)
        return Row(f"{index:06d}", scene, text, truth)

    def rows(self) -> Iterator[Row]:
        return (self.row(index) for index in range(self.count))

    def _other(self, index: int) -> Callable[[Turn], Scene]:
        """Draws another scene of this world."""
        if self.count < 2 and self.noise and self.shares.get("mismatch"):
            raise ValueError("a mismatch needs a second pair")
        return lambda turn: self.scene((index + 1 + int(turn.next() * (self.count - 1))) % self.count)


def write_folder(world: World, out: Path, truth: Path | None = None, quality: int = 92) -> Path:
    """Write out/000000.jpg, out/000000.txt ..., and the truth as JSON lines to `truth` (default: OUT.truth.jsonl, beside
    out)."""

    def fill(folder: Path, aside: TextIO) -> None:
        for row in world.rows():
            (folder / f"{row.name}.jpg").write_bytes(encode(picture(row.scene, world.size), quality))
            (folder / f"{row.name}.txt").write_text(row.text + "\n", encoding="utf-8")
            aside.write(truth_line(row))

    return _write(out, truth, fill)


def write_tars(
    world: World, out: Path, truth: Path | None = None, quality: int = 92, per_shard: int = 1000
) -> Path:
    """Write out/00000.tar ...: WebDataset shards of .jpg, .txt and .json members, as img2dataset writes them."""

    def fill(folder: Path, aside: TextIO) -> None:
        for shard, first in enumerate(range(0, world.count, per_shard)):
            with tarfile.open(folder / f"{shard:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                for row in map(world.row, range(first, min(first + per_shard, world.count))):
                    about = {
                        "key": row.name,
                        "caption": row.text,
                        "status": "success",
                        "width": world.size,
                        "height": world.size,
                    }
                    _add(tar, f"{row.name}.jpg", encode(picture(row.scene, world.size), quality))
                    _add(tar, f"{row.name}.txt", row.text.encode())
                    _add(tar, f"{row.name}.json", json.dumps(about, ensure_ascii=False).encode())
                    aside.write(truth_line(row))

    return _write(out, truth, fill)


def encode(image: Image.Image, quality: int = 92) -> bytes:
    """JPEG bytes without chroma subsampling, since these pictures have many thin coloured edges."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def truth_line(row: Row) -> str:
    """The truth of a pair as one JSON line: name, seed of the scene, the text, and its Truth."""
    about: dict[str, Any] = {"name": row.name, "seed": row.scene.seed, "text": row.text, **asdict(row.truth)}
    return json.dumps(about, ensure_ascii=False) + "\n"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _write(out: Path, truth: Path | None, fill: Callable[[Path, TextIO], None]) -> Path:
    """Write into a temporary folder and rename it. Returns where the truth lies."""
    aside = truth or out.with_name(out.name + ".truth.jsonl")
    for path in (out, aside):
        if path.exists():
            raise Mistake(
                f"{path} exists already.",
                "A drawn world is never written over something.",
                "Name another folder.",
            )
    if aside.resolve().is_relative_to(out.resolve()):
        raise Mistake(
            f"{aside} lies inside the set.", "The truth is kept apart from the pairs.", "Name a file outside."
        )
    part, part_aside = out.with_name(f".{out.name}.part"), aside.with_name(f".{aside.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    try:
        part.mkdir(parents=True)
        part_aside.parent.mkdir(parents=True, exist_ok=True)
        with open(part_aside, "w", encoding="utf-8") as file:
            fill(part, file)
        part.rename(out)
        part_aside.rename(aside)
    except OSError as error:
        raise Mistake(
            f"{out} cannot be written.",
            str(error.strerror or error),
            "Choose a folder with space and rights.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if part_aside.exists():
            part_aside.unlink()
    return aside
