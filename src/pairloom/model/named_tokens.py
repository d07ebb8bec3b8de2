"""Tokens that a system names beside words, in a vocabulary that was not made for it: sentinels of spans, names of regions, tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer

from pairloom.data.tokens import Tokens


def with_named_tokens(
    config: Any, tokens: Tokens, names: Mapping[str, str], chosen: Collection[str]
) -> tuple[Any, Tokens]:
    """The Config and the tokenizer with these names behind its words, in this order, unless it has one of them already. names: token ->
    the setting that is its id, or the only id of it ("": none). chosen: settings that stay as they are."""
    known = tokens.tokenizer.get_vocab()
    if any(name in known for name in names):
        return config, tokens
    tokenizer = Tokenizer.from_str(tokens.tokenizer.to_str())
    tokenizer.add_special_tokens(list(names))
    ids: dict[str, Any] = {}
    for name, setting in names.items():
        if setting and setting not in chosen:
            number = tokenizer.token_to_id(name)
            ids[setting] = (number,) if isinstance(getattr(config, setting), tuple) else number
    return replace(config, **ids), Tokens(tokenizer, tokens.prompt)
