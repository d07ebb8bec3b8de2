"""Cleaning of captions before they become tokens, as normalisers of the tokenizers library: they are saved with a tokenizer.

Does not know: vocabularies.
"""

from __future__ import annotations

from tokenizers import Regex, normalizers

from pairloom.errors import Mistake, nearest

MARKS = r"[!-/:-@\[-`{-~]"  # ASCII punctuation


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


CLEAN = {  # a name -> what runs before the tokenizer's own normaliser
    "": list, "blip": _blip, "clip": _clip, "whitespace": _whitespace, "canonicalize": _canonicalize,
    "siglip": _siglip, "lower": _lower,
}  # fmt: skip


def cleaner(name: str) -> list[normalizers.Normalizer]:
    """The steps of a cleaning by its name; none for "". Mistake for a name that there is not."""
    if name not in CLEAN:
        raise Mistake(f"There is no caption cleaning '{name}'.", "", nearest(name, CLEAN))
    return CLEAN[name]()
