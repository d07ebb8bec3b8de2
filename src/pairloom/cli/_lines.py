"""One JSON line for each picture of a file, folder, set or stream of names: in groups, with progress, going on where it was
stopped."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

BEGINS = b'{"name": '  # every line
GROUP = 32  # pictures that are looked at together
STREAM = Path("-")
Pictures = Annotated[
    Path,
    typer.Argument(
        help="A picture, any set that pairloom reads, or - for file names, one a line, from standard input."
    ),
]
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def answer_all(
    pictures: Path,
    out: Path | None,
    restart: bool,
    label: str,
    empty: dict[str, Any],
    answer: Callable[[list[Any], list[str]], list[dict[str, Any]]],
    read: Callable[[bytes], Any] | None = None,
    *,
    about: dict[str, Any],
) -> None:
    """Write {"name": ..., **answer(images, keys)} for each picture, to `out` or to standard output.

    empty: what a picture that cannot be read has beside its problem; its keys tell a file of this command from others.
    read: bytes -> picture (open_image, unless told), by threads, ahead. about: see write_all. Ends with exit code 1 where not
    one picture could be read.
    """
    answered = write_all(
        pictures,
        out,
        restart,
        label,
        set(empty),
        lambda done: _lines(pictures, done, empty, answer, read),
        about,
    )
    if not answered:
        raise typer.Exit(1)


def write_all(
    source: Path,
    out: Path | None,
    restart: bool,
    label: str,
    keys: set[str],
    lines: Callable[[Counter[str]], Iterator[dict[str, Any]]],
    about: dict[str, Any],
) -> bool:
    """Write lines(how often each name is done already) to `out`, each as soon as it is there, or to standard output. Whether
    any of them is without a problem.

    source: what is read. keys: what every line has; they tell a file of this command from others. about: what answers
    depend on (the model, options): it is kept in a hidden file beside `out`, and a file of others is not gone on with.
    """
    from pairloom.cli import _show
    from pairloom.data.disk import check_output, unwritable

    if out is not None and source != STREAM:
        check_output(out, source)
    done = _done(out, restart, keys)
    if out is not None:
        _claim(out, about, bool(done))
    with _show.progress(label, None, quiet=out is None) as bar:
        if done:
            _show.console.print(f"{done.total()} already done in {out}", markup=False)
        answered = bool(done)
        for line in lines(done):
            answered |= "problem" not in line
            text = json.dumps(line, ensure_ascii=False) + "\n"
            if out is None:
                sys.stdout.write(text)
            else:
                try:
                    _append(out, text)
                except OSError as error:
                    raise unwritable(out, error) from error
            bar.step(1, bad=int("problem" in line))
    return answered


def _append(out: Path, text: str) -> None:
    with open(out, "a", encoding="utf-8") as file:
        file.write(text)


def _claim(out: Path, about: dict[str, Any], begun: bool) -> None:
    """Mistake where lines are there that another model or other options made."""
    from pairloom.data.disk import atomic_write
    from pairloom.errors import Mistake

    mark = out.with_name(f".{out.name}.asked")
    now = {name: str(value) for name, value in about.items()}
    try:
        before = json.loads(mark.read_text("utf-8")) if begun else now
    except (OSError, ValueError):
        before = now
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        raise Mistake(
            f"{out} holds answers to something else.",
            "; ".join(f"{name} was {before.get(name)}, is {now[name]}" for name in other) + ".",
            "Name another --out, or add --restart.",
        )
    with atomic_write(mark, replace=True) as file:
        file.write(json.dumps(now, ensure_ascii=False).encode("utf-8", "replace"))


def skip(done: Counter[str], name: str) -> bool:
    """Whether this one is done already. Names may repeat (tars each have a 0001): each line stands for one of them."""
    done[name] -= 1
    return done[name] >= 0


def _done(out: Path | None, restart: bool, keys: set[str]) -> Counter[str]:
    """Names already answered; a line that a kill cut off is taken out again. Mistake where the file is another's, or
    where nothing can be written."""
    from pairloom.data.disk import unwritable
    from pairloom.errors import Mistake

    if out is None:
        return Counter()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _append(out, "")
        data = out.read_bytes()
    except OSError as error:
        raise unwritable(out, error) from error
    whole = data[: data.rfind(b"\n") + 1]
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        names = Counter(line["name"] for line in lines)
        if not all(keys <= line.keys() for line in lines):
            raise KeyError(*keys)
        if not lines and data[: len(BEGINS)] != BEGINS[: len(data)]:
            raise ValueError("no beginning of a line of ours")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mistake(
            f"{out} holds something else than {' and '.join(sorted(keys))}.",
            "Nothing of yours is overwritten.",
            "Name another --out.",
        ) from error
    if restart:
        whole, names = b"", Counter()
    if len(whole) < len(data):
        out.write_bytes(whole)
    return names


def _lines(
    pictures: Path,
    done: Counter[str],
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

    waiting: list[tuple[str, str, Any, str]] = []

    def write() -> Iterator[dict[str, Any]]:  # in the set's order, so that names which repeat are told apart
        images = [(image, key) for _, key, image, _ in waiting if image is not None]
        found = iter(answer([image for image, _ in images], [key for _, key in images]) if images else ())
        for name, _, image, problem in waiting:
            yield {"name": name, **({**empty, "problem": problem} if image is None else next(found))}
        waiting.clear()

    for seen in ahead(look, (entry for entry in _pictures(pictures) if not skip(done, entry[0]))):
        waiting.append(seen)
        if len(waiting) == GROUP:
            yield from write()
    yield from write()


def _pictures(where: Path) -> Iterator[tuple[str, str, Any]]:
    """(name, key, bytes when asked) of one picture file, of the files that a stream names, or of every pair of a set."""
    from pairloom.data.pair import content_hash
    from pairloom.data.shards import open_set

    if where == STREAM:
        for name in filter(None, (line.rstrip("\r\n") for line in sys.stdin)):
            yield name, *_file(Path(name), content_hash)
        return
    if where.suffix.lower() in PICTURES and where.is_file():
        yield where.name, content_hash(where.read_bytes()), where.read_bytes
        return
    for pair in open_set(where).pairs():
        yield pair.name, pair.image_key, pair.image.read


def _file(path: Path, content_hash: Callable[[bytes], str]) -> tuple[str, Callable[[], bytes]]:
    """Key and bytes of a file; where it cannot be read, its bytes are the error."""
    try:
        data = path.read_bytes()
    except OSError as error:
        told = OSError(error.strerror or str(error))

        def fail() -> bytes:
            raise told

        return "", fail
    return content_hash(data), lambda: data
