"""One JSON line for each picture of a file, folder or set: in groups, with progress, going on where it was stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GROUP = 32  # pictures that are looked at together
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def answer_all(
    pictures: Path,
    out: Path | None,
    restart: bool,
    label: str,
    empty: dict[str, Any],
    answer: Callable[[list[Any], list[str]], list[dict[str, Any]]],
    read: Callable[[bytes], Any] | None = None,
) -> None:
    """Write {"name": ..., **answer(images, keys)} for each picture, to `out` or to standard output.

    empty: what a picture that cannot be read has beside its problem; its keys tell a file of this command from others.
    read: bytes -> picture (open_image, unless told), by threads, ahead.
    """
    write_all(out, restart, label, set(empty), lambda done: _lines(pictures, done, empty, answer, read))


def write_all(
    out: Path | None,
    restart: bool,
    label: str,
    keys: set[str],
    lines: Callable[[set[str]], Iterator[dict[str, Any]]],
) -> None:
    """Write lines(names already done) to `out`, each as soon as it is there, or to standard output.

    keys: what every line has; they tell a file of this command from others.
    """
    from pairloom.cli import _show

    done = _done(out, restart, keys)
    with _show.progress(label, None, quiet=out is None) as bar:
        if done:
            _show.console.print(f"{len(done)} already done in {out}", markup=False)
        for line in lines(done):
            text = json.dumps(line, ensure_ascii=False) + "\n"
            if out is None:
                sys.stdout.write(text)
            else:
                with open(out, "a", encoding="utf-8") as file:
                    file.write(text)
            bar.step(1, bad=int("problem" in line))


def _done(out: Path | None, restart: bool, keys: set[str]) -> set[str]:
    """Names already answered; a line that a kill cut off is taken out again. Mistake where the file is another's."""
    from pairloom.errors import Mistake

    if out is None or not out.exists():
        return set()
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        names = {line["name"] for line in lines}
        if not all(keys <= line.keys() for line in lines):
            raise KeyError(*keys)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mistake(
            f"{out} holds something else than {' and '.join(sorted(keys))}.",
            "Nothing of yours is overwritten.",
            "Name another --out.",
        ) from error
    if restart:
        out.unlink()
        return set()
    if len(whole) < len(data):
        out.write_bytes(whole)
    return names


def _lines(
    pictures: Path,
    done: set[str],
    empty: dict[str, Any],
    answer: Callable[[list[Any], list[str]], list[dict[str, Any]]],
    read: Callable[[bytes], Any] | None,
) -> Iterator[dict[str, Any]]:
    from pairloom.data.ahead import ahead
    from pairloom.data.pixels import Unreadable, open_image

    read = read or open_image

    def look(entry: tuple[str, str, Any]) -> tuple[str, str, Any, str]:
        name, key, data = entry
        try:
            return name, key, read(data()), ""
        except (OSError, Unreadable) as error:
            return name, key, None, str(error)

    waiting: list[tuple[str, str, Any]] = []

    def write() -> Iterator[dict[str, Any]]:
        if waiting:
            found = answer([image for _, _, image in waiting], [key for _, key, _ in waiting])
            yield from ({"name": name, **said} for (name, _, _), said in zip(waiting, found))
        waiting.clear()

    for name, key, image, problem in ahead(look, (e for e in _pictures(pictures) if e[0] not in done)):
        if image is None:
            yield {"name": name, **empty, "problem": problem}
        else:
            waiting.append((name, key, image))
        if len(waiting) == GROUP:
            yield from write()
    yield from write()


def _pictures(where: Path) -> Iterator[tuple[str, str, Any]]:
    """(name, key, bytes when asked) of one picture file, or of every pair of a set."""
    from pairloom.data.pair import content_hash
    from pairloom.data.shards import open_set

    if where.suffix.lower() in PICTURES:
        yield where.name, content_hash(where.read_bytes()) if where.is_file() else "", where.read_bytes
        return
    for pair in open_set(where).pairs():
        yield pair.name, pair.image_key, pair.image.read
