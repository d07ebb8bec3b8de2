"""WordPiece, as BERT's tokenizer has it: learned from texts, read from vocab.txt, assembled around a vocabulary.

Does not know: batches, models.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pairloom.data.normalisers import cleaner
from pairloom.data.roles import FIRST, LAST
from pairloom.errors import Mistake

ALPHABET = 1000  # characters that get a token of their own, as in BERT's own trainer


def learn(texts: Iterable[str], size: int, clean: str = "") -> Tokenizer:
    """A lower-case vocabulary of at most `size` ids; texts are valid Unicode. Raises Mistake where there is no text.

    The same texts in any order give the same ids on every machine: the library numbers single characters in the order of a
    hash map, and ties between merges follow these numbers, so the alphabet is handed to it sorted.
    """
    if size < 64:
        raise ValueError("a vocabulary needs at least 64 ids")
    normalizer = normalizers.Sequence([*cleaner(clean), normalizers.BertNormalizer(lowercase=True)])
    words = [normalizer.normalize_str(text) for text in texts]
    counts: Counter[str] = Counter()
    for text in words:
        counts.update(text)
    room = min(ALPHABET, (size - len(FIRST) - len(LAST)) // 4)
    common = sorted((char for char in counts if not char.isspace()), key=lambda char: (-counts[char], char))[
        :room
    ]
    if not common:
        raise Mistake(
            "There is no text to learn a vocabulary from.",
            "Every text is empty.",
            "Check the set: pairloom check PAIRS.",
        )
    alphabet = [*sorted(common), *("##" + char for char in sorted(common) if not _stands_alone(char))]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator(
        words,
        trainers.WordPieceTrainer(
            vocab_size=size - len(LAST),
            min_frequency=2,
            limit_alphabet=0,  # the alphabet is ours, handed over as if special
            special_tokens=[*FIRST, *alphabet],
            show_progress=False,
        ),
    )
    return assemble(learner.get_vocab(), normalizer)


def _stands_alone(char: str) -> bool:
    """Punctuation is a word of its own for BERT: it never continues one."""
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def assemble(vocabulary: dict[str, int], normalizer: normalizers.Normalizer) -> Tokenizer:
    """A BERT tokenizer around a vocabulary; transformers reads its file as it stands."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([name for name in FIRST if name in vocabulary])
    if "[CLS]" in vocabulary and "[SEP]" in vocabulary:
        frame = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=frame
        )
    return tokenizer


def read_vocabulary(file: Path) -> Tokenizer:
    """BERT's vocab.txt: one token a line, its id the line number. Lower-case unless a token is not."""
    tokens = file.read_text("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    vocabulary = {token: row for row, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise Mistake(
            f"{file} is not a vocabulary.",
            "Tokens stand there twice.",
            "Give BERT's vocab.txt: one token a line.",
        )
    cased = any(token != token.lower() for token in tokens if not token.startswith("["))
    return assemble(vocabulary, normalizers.BertNormalizer(lowercase=not cased))
