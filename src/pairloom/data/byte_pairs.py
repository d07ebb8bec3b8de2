"""CLIP's tokenizer (Radford et al., 2021, section 2.4): lower-case byte pairs, from the files that it is published in.

Facts: 256 bytes, the same 256 ending a word, one id for each merge, then start and end: 49,408. Text is NFC, runs of
white space are one space. OpenAI's own code also mends mojibake (ftfy) and HTML entities; transformers and we do not.
Knows no models and no lengths.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pairloom.data.roles import END, START, WORD_END
from pairloom.errors import Mistake

MERGES = 49152 - 256 - 2  # of the file's lines, those that CLIP uses
MOST = 1 << 26  # bytes of an unpacked file that are read at the most
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def assemble(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """The tokenizer around a vocabulary and its merges; transformers reads its file as it stands."""
    missing = [name for name in (START, END) if name not in vocabulary]
    if missing:
        raise Mistake(f"The vocabulary has no {' and no '.join(missing)}.", "It is not CLIP's.")
    tokenizer = Tokenizer(
        models.BPE(
            dict(vocabulary),
            list(merges),
            unk_token=END,
            continuing_subword_prefix="",
            end_of_word_suffix=WORD_END,
            fuse_unk=False,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def read_vocabulary(file: Path) -> Tokenizer:
    """From `vocab.json` and the `merges.txt` beside it. Mistake where that is missing."""
    beside = file.with_name("merges.txt")
    if not beside.is_file():
        raise Mistake(f"{file} has no merges.txt beside it.", "CLIP's byte pairs need both.", "Copy both.")
    return assemble(json.loads(file.read_text("utf-8")), _merges(beside.read_text("utf-8")))


def read_openai(file: Path) -> Tokenizer:
    """From OpenAI's list of merges: the ids follow from its order."""
    with gzip.open(file, "rb") as stream:
        merges = _merges(stream.read(MOST).decode("utf-8"))[:MERGES]
    letters = _letters()
    words = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges)]
    return assemble({word: row for row, word in enumerate([*words, START, END])}, merges)


def _merges(text: str) -> list[tuple[str, str]]:
    """One merge a line; the first line tells the version."""
    lines = [line.split() for line in text.split("\n")[1:] if line.strip()]
    return [(first, second) for first, second in lines]


def _letters() -> list[str]:
    """The 256 bytes as printable characters: those that are printable in Latin-1 first, the others from 256 on."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in shown] + [chr(256 + at) for at in range(256 - len(shown))]
