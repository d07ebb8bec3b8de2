"""Image captioning: texts for pictures, with their log-probabilities. Requires `start` and `step`.

I pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pairloom.data.detected import Detected
from pairloom.data.pixels import Picture
from pairloom.errors import Mistake, nearest
from pairloom.model import Model
from pairloom.tasks.decode import Writing, decode

METHODS = "greedy", "beam", "nucleus"


@dataclass(frozen=True)
class Caption:
    """A caption: its text, its log-probability in total and per token, and whether it ends with the end token."""

    text: str
    log_probability: float
    per_token: float
    ended: bool

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Captioning(Writing):
    """Options of captioning. prompt: the words that every caption begins with; they count in max_length, and stand in the
    text. None: those that the model learnt to begin with, which are left out of the text."""

    prompt: str | None = None

    @classmethod
    def checked(cls, model: Model, *, way: str = "beam", **options: Any) -> Captioning:
        """Options, checked against the model; None, or max_length 0: as in its `generation`. Mistake where they do not fit it."""
        if way not in METHODS:
            raise Mistake(f"There is no way of writing '{way}'.", "", nearest(way, METHODS))
        chosen = {name: value for name, value in options.items() if value is not None}
        options = {**vars(model.generation), **chosen}
        max_length = options.pop("max_length") or model.generation.max_length or model.config.length
        longest = getattr(model.config, "positions", model.config.length)
        if max_length > longest:
            raise Mistake(
                f"--max-length {max_length} is longer than the model writes.",
                f"It writes at most {longest} tokens.",
                "Give less, or 0 for what it learnt.",
            )
        try:
            own = cls(way=way, max_length=max_length, **options)  # type: ignore[arg-type]
        except ValueError as error:
            raise Mistake("These options do not fit.", str(error)) from error
        if len(_begin(model, own.prompt)) + 2 > own.max_length:
            raise Mistake(
                f"{own.max_length} tokens leave nothing to write.",
                "max_length counts the first token and those of the prompt.",
                "Shorten --prompt, or give more --max-length.",
            )
        return own


def caption(
    model: Model,
    images: Tensor | Sequence[Picture | Detected],
    options: Writing = Captioning(),
    seeds: Sequence[int] | None = None,
) -> list[list[Caption]]:
    """Write captions: `options.several` for each picture, the best first, or in the order of the draws.

    Equal captions of a picture are returned once. seeds: one per picture, required for nucleus sampling.
    """
    prompt, tokens = getattr(options, "prompt", None), model.tokens
    begins = _begin(model, prompt)[: options.max_length - 2]
    shown = begins if prompt else []
    captions: list[list[Caption]] = []
    for written in decode(model.system, model.batch(images), options, begins, seeds):
        texts: dict[str, Caption] = {}
        for one in written:
            text = tokens.decode([*shown, *one.tokens]).strip()
            texts.setdefault(text, Caption(text, one.log_probability, one.mean, one.ended))
        captions.append(list(texts.values()))
    return captions


def _begin(model: Model, prompt: str | None) -> list[int]:
    """Tokens that every caption begins with; None: those of the model's own prompt."""
    if prompt is None:
        return list(model.tokens.prompt_ids)
    return model.tokens.bare([prompt])[0] if prompt else []
