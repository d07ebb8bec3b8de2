"""Tokens: strings <-> ids, around the tokenizers library. Trains a WordPiece vocabulary, or loads one that BERT or CLIP
made.

Does not know: models, batches of pictures, the hub. Downloads nothing.

B texts, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy
import torch
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor

from pairloom.data import byte_pairs
from pairloom.errors import Mistake, nearest

FIRST = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
)  # BERT's five (Devlin et al. 2019); in front, so that pad is 0
LAST = (
    "[DEC]",
    "[ENC]",
)  # BLIP's two (Li et al. 2022, section 3.2): first token of the writer, of the matcher
# the end of a text in a document and the place of a picture; OpenFlamingo's names
MARKS = ("<|endofchunk|>", "<image>")
ALPHABET = 1000  # characters that get a token of their own, as in BERT's own trainer


def _blip() -> list[normalizers.Normalizer]:
    """How BLIP's code cleans a caption: these marks become spaces, and at most 30 words stay."""
    marks = normalizers.Replace(Regex(r'[.!"()*#:;~]'), " ")
    words = normalizers.Replace(Regex(r"\A\s*(?:\S++\s++){29}\S++\K[\s\S]*"), "")
    return [marks, words]


def _clip() -> list[normalizers.Normalizer]:
    """What matters most of how CLIP's own code cleans (ftfy, then HTML entities): straight quotes, entities as characters."""
    steps = [("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'), ("&amp;", "&"), ("&quot;", '"')]
    steps += [("&(#39|apos);", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;|\u00a0", " ")]
    return [normalizers.Replace(Regex(pattern), new) for pattern, new in steps]


CLEAN = {"": list, "blip": _blip, "clip": _clip}  # a name -> what runs before BERT's own normaliser


class Tokens:
    """A vocabulary of `size` V with the ids pad, unk, cls, sep, mask, dec, enc.

    CLIP's byte pairs have a start (cls) and an end, which is sep, pad and unk; they have no mask, dec and enc (None).
    `marked` adds the marks of documents, chunk_end and image_mark (None before); a language model's tokenizer
    (data/language_tokens.py) comes with them, and is framed by what its own template puts round a text.

    Cleaning lives inside the tokenizer's own normaliser: it is saved with it and holds for whoever loads the file.
    Text that spells a special token ("[SEP]") is text: no caption can end itself.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        known = tokenizer.get_vocab(with_added_tokens=True)
        self.byte_pairs = byte_pairs.START in known and byte_pairs.END in known
        missing = [name for name in FIRST[:4] if name not in known]
        self.framed = bool(missing) and not self.byte_pairs and set(MARKS) <= known.keys()
        if missing and not self.byte_pairs and not self.framed:
            raise Mistake(
                f"The tokenizer has no {', '.join(missing)}.",
                "Texts are framed by [CLS] ... [SEP] and padded with [PAD], as in BERT.",
                "Give a tokenizer like BERT's or CLIP's, or leave it out: one is trained on the set.",
            )
        if not self.byte_pairs and not self.framed:
            tokenizer.add_special_tokens([name for name in (*FIRST, *LAST) if name not in known])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        ids = tokenizer.get_vocab(with_added_tokens=True)
        self.size = 1 + max(ids.values())
        self.mask: int | None = None
        self.dec: int | None = None
        self.enc: int | None = None
        if self.byte_pairs:
            self.cls, self.sep = ids[byte_pairs.START], ids[byte_pairs.END]
            self.pad = self.unk = self.sep
        elif self.framed:
            self.cls, self.sep = tokenizer.encode("").ids
            self.pad = self.unk = ids["<PAD>"]
        else:
            self.pad, self.unk, self.cls, self.sep, self.mask = (ids[name] for name in FIRST)
            self.dec, self.enc = (ids[name] for name in LAST)
        self.chunk_end, self.image_mark = (ids.get(name) for name in MARKS)

    def marked(self) -> Tokens:
        """The same tokens and the marks of documents after them, where they are not there yet."""
        if self.image_mark is not None and self.chunk_end is not None:
            return self
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.add_special_tokens(list(MARKS))
        return Tokens(tokenizer)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, clean: str = "") -> Tokens:
        """Learn a lower-case WordPiece vocabulary of at most `size` ids.

        The same texts in any order give the same ids on every machine: the library numbers single characters in the
        order of a hash map, and ties between merges follow these numbers, so the alphabet is handed to it sorted.
        Raises Mistake where there is no text to learn from.
        """
        if size < 64:
            raise ValueError("a vocabulary needs at least 64 ids")
        normalizer = normalizers.Sequence([*_cleaner(clean), normalizers.BertNormalizer(lowercase=True)])
        words = [normalizer.normalize_str(_whole(text)) for text in texts]
        counts: Counter[str] = Counter()
        for text in words:
            counts.update(text)
        room = min(ALPHABET, (size - len(FIRST) - len(LAST)) // 4)
        common = sorted(
            (char for char in counts if not char.isspace()), key=lambda char: (-counts[char], char)
        )[:room]
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
        return cls(_assemble(learner.get_vocab(), normalizer))

    @classmethod
    def load(cls, where: Path, clean: str = "") -> Tokens:
        """Read `tokenizer.json`, BERT's `vocab.txt` or CLIP's byte pairs from a folder (or that file itself).

        bert-base-uncased has 30,522 ids; [DEC] and [ENC] follow as 30522 and 30523 (BLIP: V = 30,524).
        Raises Mistake where there is neither, or the file is something else.
        """
        where = Path(where)
        file = where
        if where.is_dir():
            file = next((where / name for name in READERS if (where / name).is_file()), where)
        if not file.is_file():
            raise Mistake(
                f"There is no tokenizer in {where}.",
                f"Looked for {', '.join(READERS)}.",
                "Name the folder that holds one.",
            )
        try:
            tokenizer = READERS.get(file.name, _read_library)(file)
        except Mistake:
            raise
        except Exception as error:  # the library raises bare Exception for whatever is wrong with a file
            raise Mistake(
                f"{file} is not a tokenizer.", str(error), "Give a tokenizer.json of the tokenizers library."
            ) from error
        if clean:
            steps = [*_cleaner(clean), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
            tokenizer.normalizer = normalizers.Sequence(steps)
        return cls(tokenizer)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into an existing folder."""
        (Path(folder) / "tokenizer.json").write_text(self.to_json(), "utf-8")

    def to_json(self) -> str:
        """The tokenizer file as text: equal texts mean equal tokenizers."""
        return json.dumps(json.loads(self.tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Tokens:
        """The inverse of `to_json`."""
        return cls(Tokenizer.from_str(text))

    def rows(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Ids of every text, [CLS] ... [SEP], at most `length` of them; what is cut is cut before [SEP]."""
        if length < 3:
            raise ValueError("a text needs at least three tokens: [CLS], one of its own, [SEP]")
        coded = self.tokenizer.encode_batch_fast([_whole(text) for text in texts], add_special_tokens=False)
        return [[self.cls, *one.ids[: length - 2], self.sep] for one in coded]

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """ids [B T] int64 and keep [B T] (True = real), padded to the longest text here, T <= length."""
        rows = self.rows(texts, length)
        ids = numpy.full((len(rows), max(map(len, rows), default=0)), self.pad, dtype=numpy.int64)
        keep = numpy.zeros(ids.shape, dtype=bool)
        for row, one in enumerate(rows):
            ids[row, : len(one)] = one
            keep[row, : len(one)] = True
        return torch.from_numpy(ids), torch.from_numpy(keep)

    def too_long(self, text: str, length: int) -> bool:
        """Whether `encode` would cut this text."""
        return len(self.tokenizer.encode(_whole(text), add_special_tokens=False).ids) > length - 2

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row of ids [T]: up to the first [SEP], special tokens left out."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if self.sep in row:
            row = row[: row.index(self.sep)]
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        return text.replace(byte_pairs.WORD_END, " ").strip() if self.byte_pairs else text


def _cleaner(name: str) -> list[normalizers.Normalizer]:
    if name not in CLEAN:
        raise Mistake(f"There is no caption cleaning '{name}'.", "", nearest(name, CLEAN))
    return CLEAN[name]()


def _whole(text: str) -> str:
    """The library takes valid Unicode only; half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _stands_alone(char: str) -> bool:
    """Punctuation is a word of its own for BERT: it never continues one."""
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def _assemble(vocabulary: dict[str, int], normalizer: normalizers.Normalizer) -> Tokenizer:
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


def _read_vocabulary(file: Path) -> Tokenizer:
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
    return _assemble(vocabulary, normalizers.BertNormalizer(lowercase=not cased))


def _read_library(file: Path) -> Tokenizer:
    return Tokenizer.from_str(file.read_text("utf-8"))


READERS: dict[str, Callable[[Path], Tokenizer]] = {  # in the order in which a folder is searched
    "tokenizer.json": _read_library,
    "vocab.txt": _read_vocabulary,
    "vocab.json": byte_pairs.read_vocabulary,
    byte_pairs.OPENAI: byte_pairs.read_openai,
}
