"""Tokenizer: strings <-> ids, around the tokenizers library, whatever the vocabulary: WordPiece (BERT; trained here, too), byte
pairs (CLIP, language models), SentencePiece (T5, XLM-R), characters.

What a special token is for is its role; `Tokens.roles` maps each role that a vocabulary has to its id.

Does not know: models, batches of pictures, the hub. Downloads nothing.

B texts, T tokens, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer, decoders
from torch import Tensor

from pairloom.data.roles import FIRST, LAST, ROLES, WORD_END, is_clip, roles_of
from pairloom.errors import Mistake


class Tokens:
    """A vocabulary of `size` V. roles: role -> id, of the roles that it has; `pad` and `unk` always.

    A text is framed as the tokenizer's own template frames one ([CLS] ... [SEP]; T5: ... </s>), or, where it has none, by
    cls and sep if the vocabulary has them. CLIP's byte pairs pad with their end; characters have neither start nor end.

    Cleaning lives inside the tokenizer's own normaliser: it is saved with it and holds for whoever loads the file.
    Text that spells a special token ("[SEP]") is text: no caption can end itself.
    prompt: stands at the beginning of every framed text (BLIP's captioners: "a picture of").
    """

    def __init__(self, tokenizer: Tokenizer, prompt: str = "") -> None:
        known = tokenizer.get_vocab(with_added_tokens=True)
        if set(FIRST[:4]) <= known.keys():  # like BERT's: what pairloom's systems add to it
            tokenizer.add_special_tokens([name for name in (*FIRST, *LAST) if name not in known])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.size = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
        self.roles = roles_of(tokenizer)
        self.prompt, self.prompt_ids = prompt, self.bare([prompt])[0] if prompt else []

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
        return is_clip(self.tokenizer.get_vocab(with_added_tokens=True))

    def with_roles(self, *roles: str) -> Tokens:
        """The same vocabulary and, after it, a token for each of these roles that it lacks."""
        lacking = [ROLES[role][0] for role in roles if role not in self.roles]
        if not lacking:
            return self
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.add_special_tokens(lacking)
        return Tokens(tokenizer, self.prompt)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, clean: str = "") -> Tokens:
        """Learn a lower-case WordPiece vocabulary of at most `size` ids. Raises Mistake where there is no text to learn from."""
        from pairloom.data.wordpiece import learn

        return cls(learn(map(_whole, texts), size, clean))

    @classmethod
    def load(cls, where: Path, clean: str = "") -> Tokens:
        """Read `tokenizer.json`, BERT's `vocab.txt` or CLIP's byte pairs from a folder (or that file itself). Raises Mistake where
        there is neither, or the file is something else."""
        from pairloom.data.vocabulary_files import read_tokenizer

        return cls(read_tokenizer(Path(where), clean))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into an existing folder."""
        (Path(folder) / "tokenizer.json").write_text(self.to_json(), "utf-8")

    def to_json(self) -> str:
        """The tokenizer file as text: equal texts mean equal tokenizers."""
        return json.dumps(json.loads(self.tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Tokens:
        """The inverse of `to_json`."""
        return cls(parsed(text))

    def rows(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Ids of every framed text, at most `length` of them; what is cut is cut before the end token."""
        before, after = [*self.prefix, *self.prompt_ids], self.suffix
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
        return len([*self.prefix, *self.prompt_ids, *self.bare([text])[0], *self.suffix]) > length

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row of ids [T]: up to the first end token, special tokens left out."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if (end := self.roles.get("sep")) in row:
            row = row[: row.index(end)]
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        if isinstance(self.tokenizer.decoder, decoders.WordPiece):
            from pairloom.data.apostrophes import join_apostrophes

            return join_apostrophes(text)
        return text.replace(WORD_END, " ").strip() if self.byte_pairs else text


def _whole(text: str) -> str:
    """The library takes valid Unicode only; half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def parsed(text: str) -> Tokenizer:
    """The tokenizer of a tokenizer.json. ValueError for what is none: the library raises bare Exception, and where it panics an
    exception of its own that is none."""
    try:
        return Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ValueError(str(error)) from error
