"""Cleaning of captions before they become tokens, as normalisers of the tokenizers library: they are saved with a tokenizer.

Does not know: vocabularies.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tokenizers import Regex, Tokenizer, normalizers

from pairloom.errors import Mistake, nearest

MARKS = r"[!-/:-@\[-`{-~]"  # ASCII punctuation


def _blip(most: int = 30) -> list[normalizers.Normalizer]:
    """How BLIP's code cleans a caption: these marks become spaces, and at most so many words stay."""
    marks = normalizers.Replace(Regex(r'[.!"()*#:;~]'), " ")
    words = normalizers.Replace(Regex(rf"\A\s*(?:\S++\s++){{{most - 1}}}\S++\K[\s\S]*"), "")
    return [marks, words]


def _blip_statement() -> list[normalizers.Normalizer]:
    """The same with 40 words: a statement about pictures (NLVR2)."""
    return _blip(40)


def _blip2() -> list[normalizers.Normalizer]:
    """The same with 50 words (LAVIS's default)."""
    return _blip(50)


def _clip() -> list[normalizers.Normalizer]:
    """What matters most of how CLIP's own code cleans (ftfy, then HTML entities): straight quotes, entities as characters."""
    steps = [("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'), ("&amp;", "&"), ("&quot;", '"')]
    steps += [("&(#39|apos);", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;|\u00a0", " ")]
    return [normalizers.Replace(Regex(pattern), new) for pattern, new in steps]


def _whitespace() -> list[normalizers.Normalizer]:
    """open_clip's "whitespace": what CLIP's own code cleans, and runs of white space are one blank."""
    return [*_clip(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]


def _canonicalize() -> list[normalizers.Normalizer]:
    """SigLIP's cleaning (big_vision's "canonicalize"): lower case, without ASCII punctuation."""
    marks = normalizers.Replace(Regex(MARKS), "")
    return [*_clip(), normalizers.Replace("_", " "), marks, normalizers.Lowercase(), *_whitespace()[-2:]]


def _siglip() -> list[normalizers.Normalizer]:
    """How transformers' SiglipTokenizer cleans: lower case, without ASCII punctuation."""
    return [normalizers.Lowercase(), normalizers.Replace(Regex(MARKS), ""), *_whitespace()[-2:]]


def _lower() -> list[normalizers.Normalizer]:
    """Lower case alone."""
    return [normalizers.Lowercase()]


CLEAN: dict[str, Callable[[], list[normalizers.Normalizer]]] = {  # a name -> what runs before the tokenizer's own normaliser
    "": list, "blip": _blip, "blip_statement": _blip_statement, "blip2": _blip2, "clip": _clip, "whitespace": _whitespace, "canonicalize": _canonicalize,
    "siglip": _siglip, "lower": _lower,
}  # fmt: skip


def cleaner(name: str) -> list[normalizers.Normalizer]:
    """The steps of a cleaning by its name; none for "". Mistake for a name that there is not."""
    if name not in CLEAN:
        raise Mistake(f"There is no caption cleaning '{name}'.", "", nearest(name, CLEAN))
    return CLEAN[name]()


def clean_first(tokenizer: Tokenizer, name: str) -> None:
    """Let a tokenizer clean texts in this way before its own normaliser, in place of another of these ways that it has there (of several steps: lower
    case alone may be its own)."""
    steps = cleaner(name)
    document = json.loads(tokenizer.to_str())["normalizer"] or {"type": "Sequence", "normalizers": []}
    own = document["normalizers"] if document["type"] == "Sequence" else [document]
    ways = [[json.loads(step.__getstate__()) for step in make()] for make in CLEAN.values()]
    known = max((len(way) for way in ways if len(way) > 1 and own[: len(way)] == way), default=0)
    rest = [_step(one) for one in own[known:]]
    tokenizer.normalizer = normalizers.Sequence([*steps, *rest])


def _step(document: dict[str, object]) -> normalizers.Normalizer:
    """A normaliser of its JSON."""
    whole = {"version": "1.0", "normalizer": document, "model": {"type": "BPE", "vocab": {}, "merges": []}}
    return Tokenizer.from_str(json.dumps(whole)).normalizer
