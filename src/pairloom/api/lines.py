"""Answers about many pictures or examples, as JSON lines: in groups, each line written as soon as it is there, going on
where an earlier run was stopped. Knows no tensors.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pairloom.data.ahead import ahead
from pairloom.data.cut import CutTexts
from pairloom.data.disk import atomic_write, check_output, unwritable
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.region_set import picture_names
from pairloom.data.shards import open_set
from pairloom.errors import Mistake

BEGINS = b'{"name": '  # every line
GROUP = 32  # pictures that are encoded together
STREAM = Path("-")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

Line: TypeAlias = dict[str, Any]
Entry: TypeAlias = tuple[str, str, Callable[[], bytes]]  # name, key, what reads the bytes
Reader: TypeAlias = Callable[
    [Sequence[str], Callable[[], bytes]], Any
]  # what a picture may be called, what reads its bytes


def decoded(names: Sequence[str], data: Callable[[], bytes]) -> Any:
    """The picture as an upright RGB image. Raises Unreadable or OSError."""
    return open_image(data())


@dataclass
class LineFile:
    """A file of JSON lines, one a picture or example, that a later run goes on from; None: nothing is kept.

    keys: what every line has, which tells a file of this task from others. about: what answers depend on (the model, the
    options): kept in a hidden file beside `out`; a file with answers to something else is refused with a Mistake.
    """

    out: Path | None
    keys: set[str]
    about: dict[str, Any]
    restart: bool = False
    source: Path = STREAM
    done: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        if self.out is not None and self.source != STREAM:
            check_output(self.out, self.source)
        self.done = _done(self.out, self.restart, self.keys)
        if self.out is not None:
            _claim(self.out, self.about, bool(self.done))

    def write(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The same lines, each appended to the file before it is handed on."""
        for line in lines:
            if self.out is not None:
                try:
                    _append(self.out, json_line(line))
                except OSError as error:
                    raise unwritable(self.out, error) from error
            yield line

    def read(self) -> list[Line]:
        """Every line that is in the file, those of earlier runs too."""
        if self.out is None or not self.out.exists():
            return []
        return [json.loads(line) for line in self.out.read_bytes().splitlines()]  # bytes: U+2028 ends no line


@dataclass(frozen=True)
class LineTask:
    """What is asked of every picture of a source, or of every example of a set.

    label: for progress. empty: what a line has beside its name where there is no answer. about: what answers depend on.
    read(names, data): what the model reads of a picture, of what it may be called, first its key, and of what gives its bytes.
    answer(images, keys), or answer(examples, their pictures) where `kind` names a kind of examples. totals(lines): the
    numbers of a whole set. cut: texts that are read with every picture and are longer than the model reads.
    """

    label: str
    empty: Line
    about: dict[str, Any]
    answer: Callable[[list[Any], list[Any]], list[Line]]
    kind: str = ""
    read: Reader = decoded
    totals: Callable[[list[Line]], Line] = lambda lines: {}
    cut: CutTexts = CutTexts()


class Lines:
    """The answers of a LineTask, one dict each, as they are iterated; appended to `out` where it is named.

    done: how many an earlier run has left there; answered: whether any line so far is without a problem.
    """

    def __init__(
        self, task: LineTask, source: Path | str, out: Path | str | None = None, restart: bool = False
    ) -> None:
        self.task, self.source = task, Path(source)
        where = None if out is None else Path(out)
        self.file = LineFile(where, set(task.empty), task.about, restart, self.source)
        self.done = self.file.done.total()
        self.answered = bool(self.done)
        self.lines: list[Line] = []

    def __iter__(self) -> Iterator[Line]:
        task, done = self.task, self.file.done
        if task.kind:
            lines = example_lines(self.source, task.kind, done, task.empty, task.answer, task.read)
        else:
            lines = picture_lines(self.source, done, task.empty, task.answer, task.read)
        for line in self.file.write(lines):
            self.answered |= "problem" not in line
            if task.kind and self.file.out is None:
                self.lines.append(line)
            yield line

    def totals(self) -> Line:
        """The numbers of the whole set, earlier lines too: how many examples, how many of them bad, what they are worth."""
        lines = self.file.read() or self.lines
        bad = sum("problem" in line for line in lines)
        return {self.task.kind: len(lines), **({"bad": bad} if bad else {}), **self.task.totals(lines)}


def json_line(line: Line) -> str:
    """One line of the file."""
    return json.dumps(line, ensure_ascii=False) + "\n"


def picture_lines(
    source: Path,
    done: Counter[str],
    empty: Line,
    answer: Callable[[list[Any], list[str]], list[Line]],
    read: Reader = decoded,
) -> Iterator[Line]:
    """{"name": ..., **answer(images, keys)} for each picture of a file, folder, set or stream of names.

    empty: what a picture that cannot be read has beside its problem. read: as in LineTask, by threads, ahead.
    """

    def decode(entry: Entry) -> tuple[str, str, Any, str]:
        name, key, data = entry
        try:
            return name, key, read([key, name], data), ""
        except (OSError, Unreadable) as error:
            return name, key, None, str(error)

    wanted = (entry for entry in pictures_of(source) if not skip(done, entry[0]))
    for group in _grouped(ahead(decode, wanted)):
        images = [(image, key) for _, key, image, _ in group if image is not None]
        answers = iter(answer([image for image, _ in images], [key for _, key in images]) if images else ())
        for name, _, image, problem in group:  # in the set's order, so that names which repeat are told apart
            yield {"name": name, **({**empty, "problem": problem} if image is None else next(answers))}


def example_lines(
    path: Path,
    kind: str,
    done: Counter[str],
    empty: Line,
    answer: Callable[[list[Any], list[list[Any]]], list[Line]],
    read: Reader = decoded,
) -> Iterator[Line]:
    """{"name": ..., **answer(examples, their pictures)} for each example of a set of questions, statements or dialogs."""
    from pairloom.data.asked import open_examples

    def opened() -> Iterator[tuple[Any, list[Any], str]]:
        for example in open_examples(path, kind):
            if skip(done, example.name):
                continue
            images, problem = [], example.problem
            try:
                named = [] if problem else list(zip(example.image_keys, example.images))
                images = [read(picture_names(key, blob=blob), blob.read) for key, blob in named]
            except (OSError, Unreadable) as error:
                problem = str(error)
            yield example, images, problem

    for group in _grouped(opened()):
        usable = [(example, images) for example, images, problem in group if not problem]
        examples, pictures = [one for one, _ in usable], [images for _, images in usable]
        answers = iter(answer(examples, pictures) if usable else ())
        for example, _, problem in group:
            yield {"name": example.name, **({**empty, "problem": problem} if problem else next(answers))}


def skip(done: Counter[str], name: str) -> bool:
    """Whether this one is done already. Names may repeat (tars each have a 0001): each line stands for one of them."""
    done[name] -= 1
    return done[name] >= 0


def is_picture_file(where: Path) -> bool:
    return where.suffix.lower() in PICTURES and where.is_file()


def _grouped(entries: Iterable[Any]) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    for entry in entries:
        waiting.append(entry)
        if len(waiting) == GROUP:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _append(out: Path, text: str) -> None:
    with open(out, "a", encoding="utf-8") as file:
        file.write(text)


def _claim(out: Path, about: dict[str, Any], begun: bool) -> None:
    """Mistake where lines are there that another model or other options wrote."""
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


def _done(out: Path | None, restart: bool, keys: set[str]) -> Counter[str]:
    """Names already answered; a line that a kill cut off is taken out again. Mistake where the file is another's, or
    where nothing can be written."""
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


def pictures_of(where: Path) -> Iterator[Entry]:
    """One picture file, the files that standard input names, or every pair of a set."""
    if where == STREAM:
        for name in filter(None, (line.rstrip("\r\n") for line in sys.stdin)):
            yield name, *_file(Path(name))
        return
    if is_picture_file(where):
        yield where.name, content_hash(where.read_bytes()), where.read_bytes
        return
    for pair in open_set(where).pairs():
        yield pair.name, pair.image_key, pair.image.read


def _file(path: Path) -> tuple[str, Callable[[], bytes]]:
    """Key and bytes of a file; where it cannot be read, asking for its bytes raises the error."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = OSError(error.strerror or str(error))

        def fail() -> bytes:
            raise reason

        return "", fail
    return content_hash(data), lambda: data
