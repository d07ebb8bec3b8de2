"""How a model's texts are written where a caller says nothing else, and the prompt that they begin with.

Does not know: decoding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

LengthRule = Literal["sum", "released"]


@dataclass(frozen=True)
class Generation:
    """Generation config: the defaults of captioning with this model. max_length 0: config.length. length_rule: what a beam
    search divides the log-probability of a text by (`tasks/decode.py`)."""

    beams: int = 3
    min_length: int = 3
    max_length: int = 0
    length_rule: LengthRule = "sum"


def with_prompt(config: Any, tokens: Tokens) -> tuple[Any, Tokens]:
    """The Config and the tokenizer of a system whose texts begin with its config's `prompt_text`: its tokens are counted and
    named in the Config, and stand before every text. Both unchanged for a system without such a setting."""
    words = getattr(config, "prompt_text", None)
    if words is None:
        return config, tokens
    if config.prompt and not words:
        raise Mistake(
            f"prompt={config.prompt} does not say which words stand before a text.",
            "They are put before every text in training and in captioning, and are not learned.",
            'Leave prompt out, and give the words: model.prompt_text="a picture of".',
        )
    tokens = tokens.with_prompt(words)
    ids = tuple(tokens.prompt_ids)
    if len(ids) + 3 > config.length:
        raise Mistake(
            f"'{words}' leaves no room for a text.",
            f"It has {len(ids)} tokens, and the model reads {config.length}.",
            "Give a shorter prompt_text, or a greater length.",
        )
    return replace(config, prompt=len(ids), prompt_ids=ids), tokens
