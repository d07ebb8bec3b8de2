"""Faults of texts and pictures that are known without a model: the table of faults, and the checks of texts.

Severities: "bad" texts and pictures are dropped by rule; "doubt" is shown and left to the judge; "note" is information.
Does not know: scores, decisions, files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A kind of fault. says: its sentence for people, used as the reason of a decision."""

    code: str
    severity: str
    says: str


FAULTS = {
    fault.code: fault
    for fault in [
        Fault("no_image", "bad", "There is no picture for this text."),
        Fault("unreadable", "bad", "The picture cannot be read."),
        Fault("broken_row", "bad", "A row or a file of the set cannot be read."),
        Fault("charset", "bad", "The text is in an unknown character set: convert it to UTF-8."),
        Fault("tiny", "bad", "The picture is smaller than 16 pixels on a side."),
        Fault("blank", "bad", "The picture is one flat colour."),
        Fault("no_text", "doubt", "There is no text for this picture."),
        Fault("empty", "bad", "The text is empty."),
        Fault("file_name", "bad", "The text is a file name or a camera's number, not a description."),
        Fault("url_html", "bad", "The text is a web address or page markup."),
        Fault("spam", "bad", "The text is advertising, not a description."),
        Fault("boilerplate", "bad", "The text is a stock phrase that fits any picture."),
        Fault("refusal", "bad", "The text is a language model's refusal, not a description."),
        Fault("mojibake", "bad", "The text was decoded with the wrong character set."),
        Fault("repetition", "bad", "The text repeats itself in a loop."),
        Fault("exact_duplicate", "bad", "The same picture with the same text stands earlier in the set."),
        Fault("other_language", "bad", "The text is in another language than most of the set."),
        Fault("unclear_language", "doubt", "The text may be in another language than most of the set."),
        Fault("cut_off", "doubt", "The text seems to be cut off in the middle."),
        Fault("wrong_word", "doubt", "A word does not seem to fit the picture."),  # found by the judge
        Fault("too_long", "doubt", "The text is longer than image-text models read (77 tokens for CLIP)."),
        Fault("common_text", "note", "The same text stands on many different pictures."),
        Fault("conflict", "doubt", "The same picture stands elsewhere with different texts."),
        Fault("duplicate_name", "doubt", "Another pair of the same file has this name too."),
        Fault("near_duplicate", "note", "A nearly identical picture stands elsewhere in the set."),
        Fault("leak", "doubt", "The same picture stands in the other set (train/test leakage)."),
        Fault(
            "found_elsewhere",
            "doubt",
            "The picture was found by its name alone, in another folder than the row's.",
        ),
        Fault("extreme_shape", "doubt", "One side of the picture is more than five times the other."),
        Fault("animated", "note", "The file has several frames or pages; the first is used."),
        Fault("rotated", "note", "The camera's rotation mark was applied."),
        Fault("cmyk", "note", "The picture is in printing colours (CMYK) and was converted."),
        Fault("deep", "note", "The picture has more than 8 bits a channel and was scaled."),
        Fault("alpha", "note", "The picture is partly transparent; it was laid on white."),
        Fault("labelled_bad", "bad", "A person said that this text does not describe its picture."),
        Fault("labelled_good", "note", "A person said that this text describes its picture."),
        Fault(
            "repaired",
            "note",
            "The reader had to repair or leave out something (character set, control characters).",
        ),
        Fault(
            "mixed_caption_files",
            "note",
            "Both .txt and .caption files stand beside the picture; .txt is read.",
        ),
    ]
}

# faults of a text; all others are faults of the picture or of the pair
OF_TEXT = frozenset(
    "empty file_name url_html spam boilerplate refusal mojibake repetition too_long cut_off common_text other_language "
    "unclear_language labelled_bad labelled_good".split()
)

_IMAGE_NAME = r"\.(jpe?g|png|gif|webp|tiff?|bmp|heic|avif|svg|raw|cr2|nef)"
# The patterns are for texts in lower case: patterns that ignore case take three times as long.
_FILE_NAME = re.compile(
    rf"^\S{{0,200}}{_IMAGE_NAME}$"
    rf"|^[\w\-. ()]{{1,80}}{_IMAGE_NAME}$"
    r"|^(img|dsc[nf]?|p|pic|image|photo|screen ?shot|pxl|wp|mvimg|gopro|untitled|scan)[-_ ]?\(?\d{2,}[\w\-() ]{0,30}$"
    r"|^[0-9a-f]{12,64}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|^\d[\d_\-. ]{5,}$",
)
_URL_HTML = re.compile(
    r"^(https?://|www\.)\S+$|</?(a|p|br|div|span|img|b|i|em|strong|font|html|li|td|h\d|script|style|iframe)\b[^>]{0,200}>"
)
_SPAM = re.compile(
    r"\b(buy (now|it|online|one|cheap)|free shipping|add to (cart|basket)|order now|shop (now|our|online|the)|click here|limited (time )?offer"
    r"|best price|discount (code|price)s?|big discounts?|coupon codes?|promo code|on sale|for sale (now|here|online)|\d+ ?% ?off|subscribe|sign up|follow us|like and share|earn money"
    r"|make money|work from home|casino|viagra|call now|dm for|link in bio|hot deals?|special deal|money back|lowest prices?|clearance sale|best deals?"
    r"|giveaway|act now|while supplies last|satisfaction guaranteed|100 ?% (free|genuine|original))\b"
    r"|[$€£]\s?\d+([.,]\d\d)?\s*(only|each|off|!)|(#\w+\s*){5,}|(!\s*){3,}|(\bfree\b.*){3,}",
)
_BOILERPLATE = re.compile(
    r"^\W*((stock (photo|image|picture|illustration|footage|vector)s?|royalty[- ]free\b.*|image (not available|unavailable|coming soon|result.*|may contain.*)"
    r"|no (image|photo|picture|caption|description|title|alt text)( available| provided)?|photo (not available|coming soon)"
    r"|picture|photo|image|img|photograph|thumbnail|untitled|unnamed|unknown|default( image| title)?|placeholder.*|loading|none|null|nan|n/a|undefined"
    r"|(this is )?(an?|the) (image|photo|picture|photograph)|alt ?text|caption|description|logo|icon|banner|header|avatar|profile (photo|picture)"
    r"|click (to|for) .{0,40}|tap to .{0,30}|view (larger|full|more|image|photo).*|see more.*|read more.*|zoom.{0,20}"
    r"|(image|photo|picture|photography|photograph|courtesy)( courtesy)? (by|of|via|credit|from):?\s.{0,60}|(image|photo) ?credits?.*"
    r"|(copyright (©|\(c\)|\d{4}|by|all)|©|\(c\)|all rights reserved).*|share (this|on (facebook|twitter|pinterest)).*|posted (by|on|in).*|download( (now|free|this|the app|image|photo|wallpaper).{0,40})?|product (image|photo).*|(image |photo )?gallery( \d+)?"
    r"|(image|photo|picture|slide|page|figure|fig\.?) ?\d+( of \d+)?))\W*$"
    r"|all rights reserved|image may contain|no description available|stock (photo|image|vector|illustration)s? (no|id|by|and)\b",
)
_REFUSAL = re.compile(
    r"\b(as an ai( language)?( model)?|i'?m sorry,? (but )?(as|i)\b|i cannot (provide|see|assist|describe|help|view)|i can'?t (provide|see|assist|describe|help|view)"
    r"|i am unable to|i'?m unable to|your message is empty|please provide (an|the|more) (image|picture|context)|language model)\b",
)
_MOJIBAKE = re.compile(
    "Ã[\u0080-\u00bf©¨ª«¤¶¼±³²§¢ ]|â€[™œ\u009d“”˜¦\u0080-\u00bf]|Â[\u00a0-\u00bf ]|ï»¿|\ufffd|Ð[\u0080-\u00bf]{1}.?Ñ"
)
_DANGLING = frozenset(
    "a an the of with and or in on at by to from for is are its his her their left right above below under".split()
) - {"left", "right", "above", "below", "under"}
_WORD = re.compile(r"\w+|[^\w\s]")
_REPEATS = re.compile(r"(\b.{3,60}?)(?:[\s,.;]*\1){3,}", re.DOTALL)


def text_faults(text: str) -> list[str]:
    """Codes of the faults of a text by itself."""
    codes = []
    stripped = text.strip()
    if (
        not stripped
        or not any(character.isalnum() for character in stripped[:1000])
        and not _symbols(stripped)
    ):
        return ["empty"]
    # the beginning of a text is enough: a caption of 100,000 characters then costs no more than a short one
    start = stripped[:2000]
    low = start.lower()
    if _FILE_NAME.match(low):
        codes.append("file_name")
    if _URL_HTML.search(low):
        codes.append("url_html")
    if _SPAM.search(low):
        codes.append("spam")
    if _BOILERPLATE.search(low):
        codes.append("boilerplate")
    if _REFUSAL.search(low):
        codes.append("refusal")
    if not start.isascii() and _MOJIBAKE.search(start):
        codes.append("mojibake")
    words = _WORD.findall(start)
    if len(words) >= 12 and _repeats(low):
        codes.append("repetition")
    if len(words) > 75 or len(stripped) > 2000:
        codes.append("too_long")
    if start.endswith(("...", "…", "-")) or (len(words) > 2 and words[-1].lower() in _DANGLING):
        codes.append("cut_off")
    return codes


def _repeats(text: str) -> bool:
    """Whether a piece of three or more characters is repeated four times in a row. The pattern is slow, so it is tried only
    at three characters that occur four times in the text."""
    counts = Counter(zip(text, text[1:], text[2:]))
    often = {gram for gram, count in counts.items() if count >= 4}
    grams = zip(text, text[1:], text[2:]) if often else ()
    return any(gram in often and _REPEATS.match(text, at) for at, gram in enumerate(grams))


def _symbols(text: str) -> bool:
    """Whether a text without letters has other symbols (emoji, mathematical signs)."""
    return any(unicodedata.category(character) in ("So", "Sm") for character in text[:200])
