"""The tokenizer of a published language model, made ready for documents: its own words, then <|endofchunk|>, <image> and a
pad, as OpenFlamingo adds them.

Facts: tokenizer.json does not say which words begin and end a text; tokenizer_config.json does. They are written into the
template, so that the file alone tells from then on. A model that begins texts by nothing begins them by its end.
Does not know: models, weights. Slow tokenizers (a sentencepiece model alone) are not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import processors

from pairloom.data.roles import DOCUMENT, ROLES
from pairloom.data.tokens import Tokens, parsed
from pairloom.errors import Mistake

PAD = "<PAD>"


def language_tokens(where: Path) -> Tokens:
    """Raises Mistake where the folder has no tokenizer that can be used, or it does not say how texts end."""
    file = where / "tokenizer.json"
    if not file.is_file():
        raise Mistake(
            f"There is no tokenizer in {where}.",
            "Looked for tokenizer.json.",
            "Save the folder with AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER).",
        )
    try:
        tokenizer = parsed(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file} is not a tokenizer.", str(error), "Copy the file again.") from error
    settings = {**_read(where / "special_tokens_map.json"), **_read(where / "tokenizer_config.json")}
    end = _word(settings.get("eos_token"))
    begin = _word(settings.get("bos_token")) or end
    ids = tokenizer.get_vocab(with_added_tokens=True)
    if end not in ids or begin not in ids:
        raise Mistake(
            f"The tokenizer in {where} does not say how a text ends.",
            f"tokenizer_config.json gives eos_token {end or 'nothing'}.",
            "Set eos_token in tokenizer_config.json.",
        )
    marks = [ROLES[role][0] for role in DOCUMENT]
    tokenizer.add_special_tokens([name for name in (*marks, PAD) if name not in ids])
    frame = list(dict.fromkeys([(begin, ids[begin]), (end, ids[end])]))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=frame)
    return Tokens(tokenizer)


def _word(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
