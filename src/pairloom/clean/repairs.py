"""Repairs of a text: what was spoilt on its way and can be undone without knowing the picture. They are proposals until a run
applies them.

Mojibake is ftfy's work (Robyn Speer, "ftfy: fixes text for you"): text that was decoded with the wrong character set, and nothing
else of what ftfy can change (curly quotes, the width of letters, ligatures stay). Page markup goes, and the caption in it stays.

Does not know: faults, pictures, other texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ftfy import TextFixerConfig, fix_encoding
from ftfy.badness import is_bad
from ftfy.fixes import unescape_html

# lossy sequences are guesses; a text with a replacement character is not restored
_SURE = TextFixerConfig(replace_lossy_sequences=False, unescape_html=False)
_TAGS = (
    "a|abbr|b|big|blockquote|br|caption|center|cite|code|div|em|figcaption|figure|font|h[1-6]|hr|html|body|i|iframe|img|input|li|noscript|ol|p|pre|"
    "s|script|small|span|strike|strong|style|sub|sup|table|tbody|td|th|tr|u|ul|video|source|picture|button|label|section|article|header|footer|nav"
)
_ELEMENT = re.compile(
    rf"<(script|style)\b[^<>]*>.{{0,5000}}?</\1\s*>|</?(?:{_TAGS})(?:\s[^<>]*|/)?\s*/?>|<!--.{{0,2000}}?-->|<!doctype[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_CUT_ELEMENT = re.compile(rf"<(?:{_TAGS})\s+[\w:-]+\s*=[^<>]*$", re.IGNORECASE)  # its end is missing
_SPOKEN = re.compile(r"\b(?:alt|title)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"^\s*(?:[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')\s*)+$")
_CODES = re.compile(
    r"\[/?(?:caption|gallery|embed|img|url|quote|video|audio|vc_\w+|et_\w+)(?:\s*=|\s+\w+=)[^\]\n]*\]|\[/\w+\]|\[[biu]\]"
    r"|\{\{.{0,500}?\}\}|\{%.{0,500}?%\}|<\?(?:php|=|xml).{0,500}?(?:\?>|$)|<%.{0,500}?%>|\$\{[^}]*\}|#\{[^}]*\}|%\([\w.]+\)[sd]|@\{[^}]*\}",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN = re.compile(r"!\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_LINKED = re.compile(r"\[([^\[\]]+)\]\((?:https?:|/|#|\.)[^)\s]*\)")
_BLANKS = re.compile(r"[^\S\r\n]{2,}")
_SIGNS = frozenset("<[{&$#%@=")


@dataclass(frozen=True)
class Repair:
    """A proposed text, with the codes of what is undone in it."""

    text: str
    codes: tuple[str, ...]


def repair(text: str) -> Repair:
    """The text with everything undone that can be, which may leave nothing; without codes where there is nothing to undo."""
    codes = []
    if not text.isascii() and is_bad(text):
        fixed = fix_encoding(text, _SURE)
        if fixed != text and "\ufffd" not in fixed:
            text = fixed
            codes.append("mojibake")
    if not _SIGNS.isdisjoint(text):
        plain = without_entities(text)
        bare = without_markup(plain)
        codes += ["entities"] if plain != text else []
        codes += ["markup"] if bare != plain else []
        text = bare
    if "  " in text or "\t" in text or "\u00a0" in text:
        even = _BLANKS.sub(" ", text)
        if even.strip() != text.strip():
            text = even
            codes.append("blanks")
    return Repair(text, tuple(codes))


def repaired(text: str) -> str:
    """The repaired text; the text itself where nothing would be left of it."""
    new = repair(text).text
    return new if any(map(str.isalnum, new)) else text


def is_mojibake(text: str) -> bool:
    """Whether a text was decoded with the wrong character set, whether or not it can be repaired."""
    return not text.isascii() and ("\ufffd" in text or is_bad(text))


def without_entities(text: str) -> str:
    """The text with character references ("&amp;") as characters, also where they were written twice."""
    for _ in range(2):
        if "&" not in text or (plain := unescape_html(text)) == text:
            break
        text = plain
    return text


def without_markup(text: str) -> str:
    """The text without elements, short codes, template code and links; what an element says by `alt` or `title` stays."""
    if _ATTRIBUTES.match(text):
        return _spoken(text)
    bare = text
    if "<" in bare:
        bare = _CUT_ELEMENT.sub(" ", _ELEMENT.sub(lambda element: f" {_spoken(element.group())} ", bare))
    if "[" in bare or "{" in bare or "<" in bare or "%(" in bare:
        bare = _LINKED.sub(r"\1", _SHOWN.sub(r"\1", _CODES.sub(" ", bare)))
    return text if bare == text else re.sub(r"\s+([,.;:!?])", r"\1", " ".join(bare.split()))


def _spoken(element: str) -> str:
    """What an element's `alt`, else its `title`, says; links and blocks have their words inside."""
    if element.startswith("<") and not element[1:].lower().startswith(("img", "input", "video", "iframe")):
        return ""
    values = [one or other for one, other in _SPOKEN.findall(element)]
    return next((value for value in values if value.strip()), "")
