"""Apostrophes of decoded WordPiece texts, which the vocabulary makes words of their own: "a man ' s hat" -> "a man's hat".

The library's decoder looks at one token at a time and cannot join them; transformers joins every one with both neighbours.
Here quotes and the possessive of plurals keep their blank.
"""

from __future__ import annotations

import re

_SHORT = re.compile(r" ' (?=(?:s|t|m|d|re|ve|ll|em|til|tis|twas|clock)\b)|(?<=\b[odly]) ' (?=\w)")
_QUOTED = re.compile(r"(?:(?<=\s)|^)' ([^']*[^'\s]) '(?=\s|[^\w\s]|$)")
_PLURAL = re.compile(r"(?<=\ws) ' (?=\w)")
_ALONE = re.compile(r"(?<=\w) ' (?=\w)")


def join_apostrophes(text: str) -> str:
    """The text with the blanks around its apostrophes as people write them."""
    if "'" not in text:
        return text
    text = _SHORT.sub("'", text)
    text = _QUOTED.sub(r"'\1'", text)
    text = _PLURAL.sub("' ", text)
    text = _ALONE.sub("'", text)
    return re.sub(r"(?<=\w) '(?=$|[.,;:!?])", "'", text)
