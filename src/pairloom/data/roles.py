"""Roles of special tokens: what each is for, however a published vocabulary spells it.

Does not know: how texts become tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import Tokenizer

from pairloom.errors import Mistake

START, END = "<|startoftext|>", "<|endoftext|>"  # how CLIP spells the start and the end of a text,
WORD_END = "</w>"  # and the end of a word
WORD_BEGIN = "\u2581"  # how SentencePiece spells the blank before a word
# A role -> the tokens that play it in published vocabularies; what is added for a role is spelt like the first
ROLES: dict[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<PAD>", "<pad>"),  # fills a row up to the longest
    "unk": ("[UNK]", "<unk>"),  # whatever the vocabulary does not have
    "cls": ("[CLS]", START, "<s>"),  # begins a text
    "sep": ("[SEP]", END, "</s>"),  # ends a text
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
# a setting of a system's Config -> the role whose id it takes from the tokenizer
FROM_TOKENS = {**{role: role for role in (*BERT, "dec", "enc")}, "image_mark": "image", "chunk_end": "end"}


def is_clip(vocabulary: Mapping[str, int]) -> bool:
    """Whether these are CLIP's byte pairs."""
    return START in vocabulary and END in vocabulary


def roles_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Role -> id: by the usual names, but start and end as the template says where there is one. Mistake where nothing could
    pad a row."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    known = ids
    if is_clip(ids):  # any other name is a merge of its letters
        names = (START, END, *(ROLES[role][0] for role in ("mask", *DOCUMENT)))
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
