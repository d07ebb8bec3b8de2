"""Tokenizer: strings <-> ids, around the tokenizers library, whatever the vocabulary: WordPiece (BERT; trained here, too), byte
pairs (CLIP, language models), SentencePiece (T5, XLM-R), characters.

What a special token is for is its role; `Tokens.roles` maps each role that a vocabulary has to its id.

Does not know: models, batches of pictures, the hub. Downloads nothing.

B texts, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

# A role -> the tokens that play it in published vocabularies; what is added for a role is spelt like the first
ROLES: dict[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<PAD>", "<pad>"),  # fills a row up to the longest
    "unk": ("[UNK]", "<unk>"),  # whatever the vocabulary does not have
    "cls": ("[CLS]", byte_pairs.START, "<s>"),  # begins a text
    "sep": ("[SEP]", byte_pairs.END, "</s>"),  # ends a text
    "mask": ("[MASK]", "<mask>"),  # stands for a token that is to be predicted
    "dec": ("[DEC]",),  # BLIP (Li et al. 2022, section 3.2): first token of the writer,
    "enc": ("[ENC]",),  # and of the matcher
    "end": ("<|endofchunk|>",),  # OpenFlamingo: the end of a text in a document,
    "image": ("<image>",),  # and the place of a picture
}
BERT = ("pad", "unk", "cls", "sep", "mask")  # Devlin et al. 2019; in front, so that pad is 0
FIRST = tuple(ROLES[role][0] for role in BERT)
LAST = tuple(ROLES[role][0] for role in ("dec", "enc"))
DOCUMENT = ("end", "image")  # the roles that documents need
WORD_BEGIN = "\u2581"  # how SentencePiece spells the blank before a word
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
    """A vocabulary of `size` V. roles: role -> id, of the roles that it has; `pad` and `unk` always.

    A text is framed as the tokenizer's own template frames one ([CLS] ... [SEP]; T5: ... </s>), or, where it has none, by
    cls and sep if the vocabulary has them. CLIP's byte pairs pad with their end; characters have neither start nor end.

    Cleaning lives inside the tokenizer's own normaliser: it is saved with it and holds for whoever loads the file.
    Text that spells a special token ("[SEP]") is text: no caption can end itself.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        known = tokenizer.get_vocab(with_added_tokens=True)
        if set(FIRST[:4]) <= known.keys():  # like BERT's: what pairloom's systems add to it
            tokenizer.add_special_tokens([name for name in (*FIRST, *LAST) if name not in known])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.size = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
        self.roles = _roles(tokenizer)

    def id(self, role: str) -> int:
        """The token that plays a role. Mistake where the vocabulary has none."""
        if role not in self.roles:
            raise Mistake(
                f"The tokenizer has no token for '{role}' ({' or '.join(ROLES[role])}).",
                f"It has {', '.join(self.roles)}.",
                "Give another tokenizer, or leave it out: one is trained on the set.",
            )
        return self.roles[role]

    @property
    def pad(self) -> int:
        return self.roles["pad"]

    @property
    def unk(self) -> int:
        return self.roles["unk"]

    @property
    def cls(self) -> int:
        return self.id("cls")

    @property
    def sep(self) -> int:
        return self.id("sep")

    @property
    def mask(self) -> int:
        return self.id("mask")

    @property
    def dec(self) -> int:
        return self.id("dec")

    @property
    def enc(self) -> int:
        return self.id("enc")

    @property
    def prefix(self) -> list[int]:
        """What stands before every text."""
        return [self.roles["cls"]] if "cls" in self.roles else []

    @property
    def suffix(self) -> list[int]:
        """What stands after every text."""
        return [self.roles["sep"]] if "sep" in self.roles else []

    @property
    def byte_pairs(self) -> bool:
        """Whether these are CLIP's byte pairs."""
        return _is_clip(self.tokenizer.get_vocab(with_added_tokens=True))

    def with_roles(self, *roles: str) -> Tokens:
        """The same vocabulary and, after it, a token for each of these roles that it lacks."""
        lacking = [ROLES[role][0] for role in roles if role not in self.roles]
        if not lacking:
            return self
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.add_special_tokens(lacking)
        return Tokens(tokenizer)

    @classmethod
    def of_characters(cls, alphabet: str) -> Tokens:
        """One token a character, lower-case; id 0 pads and stands for every other character. No start, no end."""
        vocabulary = {ROLES["pad"][0]: 0, **{char: 1 + at for at, char in enumerate(alphabet)}}
        if len(vocabulary) != 1 + len(alphabet):
            raise ValueError("a character stands in the alphabet twice")
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=ROLES["pad"][0]))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens([ROLES["pad"][0]])
        return cls(tokenizer)

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
        """Ids of every framed text, at most `length` of them; what is cut is cut before the end token."""
        before, after = self.prefix, self.suffix
        room = length - len(before) - len(after)
        if room < 1:
            raise ValueError("a text needs room for a token of its own beside those that frame it")
        return [[*before, *ids[:room], *after] for ids in self.bare(texts)]

    def bare(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of every text alone, without what frames it."""
        coded = self.tokenizer.encode_batch_fast([_whole(text) for text in texts], add_special_tokens=False)
        return [one.ids for one in coded]

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """ids [B T] int64 and mask [B T] (True = real), padded to the longest text here, T <= length."""
        rows = self.rows(texts, length)
        ids = numpy.full((len(rows), max(map(len, rows), default=0)), self.pad, dtype=numpy.int64)
        mask = numpy.zeros(ids.shape, dtype=bool)
        for row, one in enumerate(rows):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = True
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def too_long(self, text: str, length: int) -> bool:
        """Whether `encode` would cut this text."""
        return len(self.prefix) + len(self.bare([text])[0]) + len(self.suffix) > length

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row of ids [T]: up to the first end token, special tokens left out."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if (end := self.roles.get("sep")) in row:
            row = row[: row.index(end)]
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        return text.replace(byte_pairs.WORD_END, " ").strip() if self.byte_pairs else text


def _is_clip(vocabulary: Mapping[str, int]) -> bool:
    return byte_pairs.START in vocabulary and byte_pairs.END in vocabulary


def _roles(tokenizer: Tokenizer) -> dict[str, int]:
    """Role -> id: by the usual names, but start and end as the template says where there is one. Mistake where nothing could
    pad a row."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    known = ids
    if _is_clip(ids):  # any other name is a merge of its letters
        names = (byte_pairs.START, byte_pairs.END, *(ROLES[role][0] for role in ("mask", *DOCUMENT)))
        known = {name: ids[name] for name in names if name in ids}
    roles = {
        role: next(known[name] for name in names if name in known)
        for role, names in ROLES.items()
        if not known.keys().isdisjoint(names)
    }
    before, after = _template(tokenizer)
    if before or after:
        roles.pop("cls", None)
    roles |= {"cls": before[0]} if before else {}
    roles |= {"sep": after[-1]} if after else {}
    if not roles.keys() & {"pad", "sep"}:
        raise Mistake(
            f"The tokenizer has no {' and no '.join((ROLES['pad'][0], ROLES['sep'][0]))}, nor any other token for these.",
            "Rows are padded to one length, and texts end.",
            "Give a tokenizer like BERT's, CLIP's or T5's, or leave it out: one is trained on the set.",
        )
    pad = roles.get("pad", roles.get("sep", 0))
    return {"pad": pad, "unk": roles.get("unk", pad), **roles}


def _template(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer's own template puts before and after a text."""
    coded = tokenizer.encode("a")
    real = [at for at, special in enumerate(coded.special_tokens_mask) if not special]
    if not real:  # "a" is nothing to this vocabulary
        half = len(coded.ids) // 2
        return coded.ids[:half], coded.ids[half:]
    return coded.ids[: real[0]], coded.ids[real[-1] + 1 :]


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
