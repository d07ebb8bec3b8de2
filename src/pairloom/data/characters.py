"""Characters as tokens: one a character, lower-case.

Does not know: models.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pairloom.data.roles import ROLES
from pairloom.data.tokens import Tokens


def character_tokens(alphabet: str) -> Tokens:
    """One token a character; id 0 pads and stands for every other character. No start, no end."""
    vocabulary = {ROLES["pad"][0]: 0, **{char: 1 + at for at, char in enumerate(alphabet)}}
    if len(vocabulary) != 1 + len(alphabet):
        raise ValueError("a character stands in the alphabet twice")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=ROLES["pad"][0]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([ROLES["pad"][0]])
    return Tokens(tokenizer)
