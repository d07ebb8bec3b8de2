"""What the commands that ask share: the right kind of model, examples in groups with their pictures, lists of texts, and
what all lines come to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pairloom.cli._lines import GROUP, skip, write_all

Answer = Callable[[list[Any], list[list[Any]]], list[dict[str, Any]]]


def model_for(ability: str, where: Path) -> Any:
    """The model, in evaluation mode. Mistake where it does not declare the ability."""
    import pairloom
    from pairloom.verbs import demand

    model = pairloom.load(where).eval()
    demand(model.system, ability)
    return model


def read_picture(where: Path) -> Any:
    """One picture, decoded. Mistake where it cannot be."""
    from pairloom.data.pixels import Unreadable, open_image
    from pairloom.errors import Mistake

    try:
        return open_image(where.read_bytes())
    except (OSError, Unreadable) as error:
        raise Mistake(f"{where} cannot be read.", str(error), "Give a picture file.") from error


def texts_of(given: str, what: str) -> list[str]:
    """Texts from a file (one a line, or a JSON list), or with commas between. Mistake where there are none."""
    from pairloom.errors import Mistake

    try:
        text = Path(given).read_text("utf-8-sig") if _is_file(given) else given.replace(",", "\n")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise Mistake(f"{given} cannot be read.", str(error), "Give a text file, one a line.") from error
    texts = list(dict.fromkeys(str(line).strip() for line in listed if str(line).strip()))
    if not texts:
        raise Mistake(
            f"There are no {what} in {given or 'what was given'}.", "It is empty.", "Give one a line."
        )
    return texts


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # longer than a name may be: a list
        return False


def answer_examples(
    path: Path, kind: str, out: Path | None, restart: bool, label: str, empty: dict[str, Any], answer: Answer,
    about: dict[str, Any],
) -> list[dict[str, Any]]:  # fmt: skip
    """Write {"name": ..., **answer(examples, their pictures)} for each example of a set; all lines, earlier ones too.

    empty: what an example that cannot be used has beside its problem. about: what answers depend on.
    """
    made: list[dict[str, Any]] = []

    def lines(done: Counter[str]) -> Iterator[dict[str, Any]]:
        for line in _lines(path, kind, done, empty, answer):
            made.append(line)
            yield line

    write_all(path, out, restart, label, set(empty), lines, about)
    if out is None or not out.exists():
        return made
    return [json.loads(line) for line in out.read_bytes().splitlines()]  # bytes: U+2028 ends no line


def _lines(
    path: Path, kind: str, done: Counter[str], empty: dict[str, Any], answer: Answer
) -> Iterator[dict[str, Any]]:
    from pairloom.data.asked import open_examples
    from pairloom.data.pixels import Unreadable, open_image

    waiting: list[tuple[Any, list[Any], str]] = []

    def write() -> Iterator[dict[str, Any]]:  # in the set's order, so that names which repeat are told apart
        usable = [(example, images) for example, images, problem in waiting if not problem]
        found = iter(answer([one for one, _ in usable], [images for _, images in usable]) if usable else ())
        for example, _, problem in waiting:
            yield {"name": example.name, **({**empty, "problem": problem} if problem else next(found))}
        waiting.clear()

    for example in open_examples(path, kind):
        if skip(done, example.name):
            continue
        images, problem = [], example.problem
        try:
            images = [] if problem else [open_image(blob.read()) for blob in example.images]
        except (OSError, Unreadable) as error:
            problem = str(error)
        waiting.append((example, images, problem))
        if len(waiting) == GROUP:
            yield from write()
    yield from write()


def tell(title: str, facts: dict[str, Any], json_: bool) -> None:
    """What a single question, or a whole set, came to."""
    from pairloom.cli import _show

    if json_:
        _show.say_json(facts)
    else:
        rows = [
            [name, f"{value:.4f}" if isinstance(value, float) else value] for name, value in facts.items()
        ]
        _show.table(title, ["what", "value"], rows)


def told_apart(facts: dict[str, Any]) -> None:
    """The numbers of a whole set, on standard error: standard output holds its lines."""
    from pairloom.cli import _show

    said = ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{value} {name}"
        for name, value in facts.items()
    )
    _show.console.print(said, markup=False)
