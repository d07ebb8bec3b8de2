"""How a model's texts are written where a caller says nothing else, and the prompt that they begin with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pairloom.data.tokens import Tokens


@dataclass(frozen=True)
class Generation:
    """Generation config: defaults of captioning. max_length 0: config.length; the rest as in `tasks/decode.py`."""

    beams: int = 3
    min_length: int = 3
    max_length: int = 0
    length_rule: Literal["sum", "released"] = "sum"


def with_prompt(config: Any, tokens: Tokens) -> tuple[Any, Tokens]:
    """The Config and the tokenizer with the tokens of the Config's `prompt_text`; without a prompt where it has no such setting."""
    words = getattr(config, "prompt_text", "")
    tokens = tokens if tokens.prompt == words else Tokens(tokens.tokenizer, words)
    if not hasattr(config, "prompt_text"):
        return config, tokens
    return replace(config, prompt=len(tokens.prompt_ids), prompt_ids=tuple(tokens.prompt_ids)), tokens
