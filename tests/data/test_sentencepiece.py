"""SentencePiece's files, read without its library: ids by hand. Beside the library itself, a vocabulary that it learned gave the same
ids for 306 texts (docs/log.md)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pairloom.data.sentencepiece import read_pieces, xlm_roberta
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

# with log-probabilities: " red" is likelier as one piece than as a blank and "red"
PIECES = [
    ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("\u2581", -2.0), ("\u2581a", -2.5), ("red", -3.0), ("r", -4.0), ("e", -4.0),
    ("d", -4.0), ("\u2581re", -3.5), ("\u2581red", -4.5),
]  # fmt: skip


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def publish(where: Path, kind: int = 1) -> Path:
    """A file with these pieces: of each its text (1), score (2) and type (3); of the trainer the kind of model (3)."""
    each = (
        field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18\x01" for text, score in PIECES
    )
    data = b"".join(field(1, one) for one in each) + field(2, bytes([3 << 3, kind]))
    where.write_bytes(data)
    return where


def test_the_pieces_and_their_scores(tmp_path: Path) -> None:
    assert read_pieces(publish(tmp_path / "toy.spm")).pieces == PIECES


def test_ids_are_xlm_robertas(tmp_path: Path) -> None:
    """<s> 0, <pad> 1, </s> 2, <unk> 3, then the pieces from the file's fourth on, <mask> last; the likeliest pieces are taken."""
    tokens = Tokens(xlm_roberta(publish(tmp_path / "toy.spm")))
    assert tokens.size == 13 and (tokens.cls, tokens.pad, tokens.sep, tokens.unk, tokens.mask) == (
        0,
        1,
        2,
        3,
        12,
    )
    assert tokens.rows(["a red"], 12) == [[0, 5, 11, 2]]  # -4.5, and not -5 or -7.5
    assert tokens.rows(["  a \t  a "], 12) == [[0, 5, 5, 2]]
    assert tokens.rows(["red z"], 12)[0][-3:] == [4, 3, 2]
    assert tokens.decode([0, 5, 11, 2]) == "a red"


def test_another_kind_and_a_file_cut_off_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no unigram model"):
        xlm_roberta(publish(tmp_path / "pairs.spm", kind=2))
    whole = publish(tmp_path / "toy.spm").read_bytes()
    for data in (whole[:-5], b"\xff" * 40, b"", b"words\nand more"):
        (tmp_path / "toy.spm").write_bytes(data)
        with pytest.raises(Mistake, match="toy.spm"):
            xlm_roberta(tmp_path / "toy.spm")
