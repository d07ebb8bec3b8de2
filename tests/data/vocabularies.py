"""Small vocabularies laid out as published ones are."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors


def sentencepiece(template: str, *specials: str) -> Tokenizer:
    """A Unigram vocabulary laid out as SentencePiece's are: specials in front, pieces that begin words after them."""
    pieces = ["\u2581a", "\u2581red", "\u2581square", "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    table = [(name, 0.0) for name in specials] + [(piece, -1.0 - at) for at, piece in enumerate(pieces)]
    made = Tokenizer(models.Unigram(table, unk_id=specials.index("<unk>")))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    framing = [(name, at) for at, name in enumerate(specials) if name in template.split()]
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=framing)
    made.add_special_tokens(list(specials))
    return made
