"""Inputs as a person has them: pictures and texts, one or several. Knows no tensors and no models."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy
from PIL import Image

from pairloom.errors import Mistake, nearest

if TYPE_CHECKING:
    from pairloom.data.clips import ClipFeatures
    from pairloom.data.detected import Detected
    from pairloom.data.pixels import Picture

Pictures: TypeAlias = "Picture | Detected | ClipFeatures | Sequence[Picture | Detected | ClipFeatures]"
Texts: TypeAlias = str | Sequence[str]


def is_one_picture(pictures: Pictures) -> bool:
    """Whether this is one picture; a list, a tuple or an array [N H W C] is several."""
    from pairloom.data.clips import ClipFeatures
    from pairloom.data.detected import Detected

    if isinstance(pictures, numpy.ndarray):
        return pictures.ndim < 4
    if isinstance(pictures, (Detected, ClipFeatures)):
        return True
    return isinstance(pictures, (str, bytes, os.PathLike, Image.Image))


def open_picture(picture: Picture) -> Image.Image:
    """The picture as an upright RGB image. Mistake where it cannot be read."""
    from pairloom.data.pixels import Unreadable, as_image

    try:
        return as_image(picture)
    except (OSError, Unreadable) as error:
        name = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else "A picture"
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise Mistake(f"{name} cannot be read.", reason, "Give a picture file.") from error


def open_pictures(pictures: Pictures) -> list[Image.Image]:
    """All of them as upright RGB images, one or several. Mistake where there is none, or one cannot be read."""
    several = [pictures] if is_one_picture(pictures) else list(pictures)  # type: ignore[arg-type]
    if not several:
        raise Mistake("There is no picture.", "The list is empty.", "Give one picture or more.")
    return [open_picture(one) for one in several]  # type: ignore[arg-type]


def text_list(texts: Texts, what: str = "text") -> list[str]:
    """All of them as a list, one or several. Mistake where there is none."""
    several = [texts] if isinstance(texts, str) else [str(text) for text in texts]
    if not several:
        raise Mistake(f"There is no {what}.", "The list is empty.", f"Give one {what} or more.")
    return several


def one_or_all(results: Sequence[Any], single: bool) -> Any:
    """The only result where one thing was handed in, else all of them as a list."""
    return results[0] if single else list(results)


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, without blanks around it, in the order given."""
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def demand_speed(word: str) -> Any:
    """The word, where it is "exact", "fast" or "int8". Mistake where it is not."""
    from pairloom.runtime.speeds import SPEEDS

    if word not in SPEEDS:
        raise Mistake(f"There is no speed '{word}'.", "", nearest(word, SPEEDS))
    return word


def listed_texts(source: str, what: str) -> list[str]:
    """Texts from a file (one a line, or a JSON list), or with commas between, each once. Mistake where there are none."""
    try:
        text = Path(source).read_text("utf-8-sig") if _is_file(source) else source.replace(",", "\n")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise Mistake(f"{source} cannot be read.", str(error), "Give a text file, one a line.") from error
    texts = distinct(str(line) for line in listed)
    if not texts:
        raise Mistake(
            f"There are no {what} in {source or 'an empty list'}.", "It is empty.", "Give one a line."
        )
    return texts


def dialog_round(text: str) -> tuple[str, str]:
    """Question and answer of a round in one text, "question? answer". Mistake where it is none."""
    question, mark, answer = text.partition("?")
    if not mark or not question.strip() or not answer.strip():
        raise Mistake(
            f"'{text}' is not a round.", 'A round is "question? answer".', 'Write --history "Is it big? yes".'
        )
    return f"{question.strip()}?", answer.strip()


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # longer than a name may be: a list
        return False
