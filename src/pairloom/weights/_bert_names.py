"""What the files of systems that were built on BERT have in common: the names of its layers, and what lies beside such a file: the
vocabulary, and the list of the answers of its questions.

Does not know: any one layout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pairloom.blocks.language import LanguageHead
from pairloom.checkpoints.layout import Place, rename
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.weights._hub import PUBLISHED, tokens_near

# our names of a layer's part -> BERT's
LAYER = (
    (r"attend\.0\.fn\.(query|key|value)", r"attention.self.\1"),
    (r"attend\.0\.fn\.out", "attention.output.dense"),
    (r"attend\.0\.norm", "attention.output.LayerNorm"),
    (r"feed\.0\.fn\.up", "intermediate.dense"),
    (r"feed\.0\.fn\.down", "output.dense"),
    (r"feed\.0\.norm", "output.LayerNorm"),
)
EMBEDDINGS = (
    (r"text\.words", "embeddings.word_embeddings"),
    (r"text\.positions", "embeddings.position_embeddings"),
    (r"text\.segments", "embeddings.token_type_embeddings"),
    (r"text\.norm", "embeddings.LayerNorm"),
)
WORDS = (
    (r"language_head\.dense", "cls.predictions.transform.dense"),
    (r"language_head\.norm", "cls.predictions.transform.LayerNorm"),
)
TIED = "cls.predictions.decoder.weight"  # the word table a second time, as the last matrix
BIAS = "cls.predictions.bias"
NEVER = -1e4  # a logit
LISTS = ("trainval_label2ans.json", "ans2label.json", "answer2label.txt")


class Layers(NamedTuple):
    """A stack of ours in a layout. ours, theirs: what stands before the number of a layer; inside: what stands behind ours; rules: of
    the names of its parts; first: the number there of our first layer."""

    ours: str
    theirs: str
    rules: Sequence[tuple[str, str]] = LAYER
    inside: str = ""
    first: int = 0


def bert_places(
    names: Iterable[str],
    layers: Sequence[Layers],
    rest: Sequence[tuple[str, str]],
    alone: Mapping[str, tuple[str, ...]],
) -> dict[str, Place]:
    """The places of our tensors in a file on BERT's names. rest: rules for the modules outside of stacks; alone: tensors with names of
    their own, or with several."""

    def place(name: str) -> Place:
        if name in alone:
            return Place(alone[name])
        stem, _, kind = name.rpartition(".")
        for stack in layers:
            pattern = rf"{re.escape(stack.ours)}\.(\d+){re.escape(stack.inside)}\.(.+)"
            if one := re.fullmatch(pattern, stem):
                at = int(one[1]) + stack.first
                return Place((f"{stack.theirs}.{at}.{rename(one[2], stack.rules)}.{kind}",))
        return Place((f"{rename(stem, rest)}.{kind}",))

    return {name: place(name) for name in names}


def current(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under BERT's current names: old files call the weight and the bias of a norm gamma and beta."""
    names = {name: name.replace(".gamma", ".weight").replace(".beta", ".bias") for name in tensors}
    return {names[name]: tensor for name, tensor in tensors.items()}


def silence_spare_words(head: LanguageHead, words: int) -> None:
    """Never write what the file has no word for. words: the file's; our reader adds two to a vocabulary, whose rows nothing taught."""
    with torch.no_grad():
        head.bias[words:] = NEVER


def count_layers(names: Iterable[str], prefix: str) -> int:
    """How many numbers follow a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)})


def with_tokens(
    config: Any, where: Path, tokens: Tokens | None = None, kind: str = "bert"
) -> tuple[Any, Tokens]:
    """A Config with the ids of a vocabulary, and that vocabulary. tokens: None: what lies beside the file `where`, or the published
    one of this kind in the local cache (`tokens_near`). Mistake where it has not as many words as the Config says."""
    tokens = tokens or tokens_near(where.parent, kind)
    if not 0 <= tokens.size - config.vocabulary <= 2:  # our reader adds [DEC] and [ENC] to a vocab.txt
        raise Mistake(
            f"The tokenizer for {where} is another model's.",
            f"It has {tokens.size} tokens, the weights have {config.vocabulary}.",
            f"Put back the vocabulary that was published with the weights ({PUBLISHED[kind][0]}).",
        )
    ids = dict(pad=tokens.pad, cls=tokens.cls, sep=tokens.sep, mask=tokens.mask)
    return replace(config, vocabulary=tokens.size, **ids), tokens


def answers_beside(where: Path, count: int) -> tuple[str, ...]:
    """The texts of the answers of a list of `count`, where a file with them lies beside the file (or in the folder) `where`; none
    where there is none. It is a list, or says of each text its number, as one object or as one of each line (answer, label).
    Mistake where it has not so many texts."""
    folder = where if where.is_dir() else where.parent
    file = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if file is None or not count:
        return ()
    try:
        names = _listed(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        names = None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(one, str) for one in names):
        raise Mistake(
            f"{file} is not the list of the answers.", f"The model has {count} of them.", "Copy it again."
        )
    return tuple(names)


def _listed(file: Path) -> Any:
    text = file.read_text("utf-8")
    if file.suffix == ".txt":
        lines = [json.loads(line) for line in text.splitlines()]
        document: Any = {one["answer"]: one["label"] for one in lines}
    else:
        document = json.loads(text)
    if not isinstance(document, dict):
        return document
    by_number = {number: name for name, number in document.items()}
    return [by_number[number] for number in range(len(by_number))]
