"""SentencePiece vocabularies (Kudo and Richardson, 2018) in the file of their library (.model, .spm): read as data, without it.

The file is a protocol buffer: a list of pieces with their scores, and how texts are normalised. Unigram models alone are read.
Does not know: batches, models.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from pairloom.data.roles import WORD_BEGIN
from pairloom.errors import Mistake

VARINT, LONG, BYTES, SHORT = 0, 1, 2, 5  # how a field is stored
UNIGRAM = 1
SENTINELS = 100  # of T5


class PieceModel(NamedTuple):
    """pieces: each with its log-probability; the first are <unk>, <s>, </s> in the order of the file. rules: the compiled table of
    characters that are replaced first."""

    pieces: list[tuple[str, float]]
    rules: bytes


def read_pieces(file: Path) -> PieceModel:
    """The vocabulary of a file. Mistake where it is no unigram model of SentencePiece."""
    try:
        pieces, rules, kind = [], b"", UNIGRAM
        for number, value in _fields(file.read_bytes()):
            inner = dict(_fields(value)) if isinstance(value, bytes) and number in (1, 2, 3) else {}
            if number == 1:
                pieces.append(
                    (bytes(inner[1]).decode(), struct.unpack("<f", bytes(inner.get(2, bytes(4))))[0])
                )
            elif number == 2:
                kind = int(inner.get(3, UNIGRAM))
            elif number == 3:
                rules = bytes(inner.get(2, b""))
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error) as error:
        why = f"{type(error).__name__}: {error}"
        raise Mistake(f"{file} is not a vocabulary of SentencePiece.", f"{why}.", "Copy it again.") from error
    if kind != UNIGRAM or len(pieces) < 4:
        raise Mistake(f"{file} is no unigram model of SentencePiece.", "Other kinds are not read.", "")
    return PieceModel(pieces, rules)


def xlm_roberta(file: Path) -> Tokenizer:
    """The tokenizer that XLM-RoBERTa's class makes of a file: <s>, <pad>, </s>, <unk> first, <mask> last."""
    model = read_pieces(file)
    first = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    words = [*first, *model.pieces[3:], ("<mask>", 0.0)]
    tokenizer = _assembled(words, 3, model.rules)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True) for name, _ in first]
        + [AddedToken("<mask>", lstrip=True, special=True)]
    )
    return tokenizer


def t5(file: Path) -> Tokenizer:
    """The tokenizer that T5's class makes of a file: its pieces (<pad>, </s>, <unk> first), then 100 sentinels, the first of them last."""
    model = read_pieces(file)
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(SENTINELS))]
    tokenizer = _assembled([*model.pieces, *((name, 0.0) for name in sentinels)], 2, model.rules)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True) for name in ("<pad>", "</s>", "<unk>", *sentinels)]
    )
    return tokenizer


def _assembled(words: Sequence[tuple[str, float]], unknown: int, rules: bytes) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(list(words), unk_id=unknown))
    blanks = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(rules), *blanks] if rules else blanks
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(WORD_BEGIN, "always")
    tokenizer.decoder = decoders.Metaspace(WORD_BEGIN, "always")
    return tokenizer


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of a protocol buffer: their number and what they hold. Raises IndexError where it is cut off."""
    at = 0

    def whole() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    while at < len(data):
        key = whole()
        kind = key & 7
        if kind == VARINT:
            yield key >> 3, whole()
            continue
        if kind not in (LONG, BYTES, SHORT):
            raise ValueError(f"a field of kind {kind}")
        size = whole() if kind == BYTES else 8 if kind == LONG else 4
        if at + size > len(data):
            raise IndexError("cut off")
        yield key >> 3, data[at : at + size]
        at += size
