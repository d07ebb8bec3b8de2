"""Tokenizers in the files that they are published in: tokenizer.json, BERT's vocab.txt, CLIP's byte pairs, T5's pieces.

bert-base-uncased has 30,522 ids; [DEC] and [ENC], which BLIP adds, follow as 30522 and 30523 (V = 30,524).
Does not know: roles of tokens, the hub.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from pairloom.data.tokens import parsed
from pairloom.errors import Mistake

OPENAI = "bpe_simple_vocab_16e6.txt.gz"  # CLIP's merges, as the clip and open_clip packages carry them
SPIECE = "spiece.model"  # T5's pieces, in the file of SentencePiece
FILES = ("tokenizer.json", "vocab.txt", "vocab.json", OPENAI)  # in the order in which a folder is searched


def read_tokenizer(where: Path, clean: str = "") -> Tokenizer:
    """The tokenizer of a folder, or of the file itself. clean: how texts are cleaned first (`data/normalisers.py`; "": as the file
    says). Mistake where there is none, or the file is something else."""
    file = where
    if where.is_dir():
        file = next((where / name for name in FILES if (where / name).is_file()), where)
    if not file.is_file():
        raise Mistake(
            f"There is no tokenizer in {where}.",
            f"Looked for {', '.join(FILES)}.",
            "Name the folder that holds one.",
        )
    try:
        tokenizer = _read(file)
    except Mistake:
        raise
    except (ValueError, OSError, EOFError, TypeError, AttributeError) as error:
        raise Mistake(
            f"{file} is not a tokenizer.", str(error), "Give a tokenizer.json of the tokenizers library."
        ) from error
    if clean:
        from pairloom.data.normalisers import clean_first

        clean_first(tokenizer, clean)
    return tokenizer


def _read(file: Path) -> Tokenizer:
    """What the file's name says that it is; under any other name the library's own kind of file."""
    if file.name == "vocab.txt":
        from pairloom.data import wordpiece

        return wordpiece.read_vocabulary(file)
    if file.name == SPIECE:
        from pairloom.data.sentencepiece import t5

        return t5(file)
    if file.name in ("vocab.json", OPENAI):
        from pairloom.data import byte_pairs

        return byte_pairs.read_openai(file) if file.name == OPENAI else byte_pairs.read_vocabulary(file)
    return parsed(file.read_text("utf-8"))
