"""File names, numbers and web addresses in place of a text. What is nothing else is certain; what only looks so is a doubt.

Does not know: pictures, scores, other texts.
"""

from __future__ import annotations

import re

SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .png .gif .webp .tif .tiff .bmp .heic .heif .avif .svg .raw .cr2 .nef .psd .ico".split()
)
# The patterns are for texts in lower case.
_CAMERA = re.compile(
    r"^(?:(?:img|imgp|dsc[nf]?|cimg|pxl|mvimg|gopr|gopro|sam|dji|vid|fb_img|wp|screenshot|screen shot)[-_ ]?\(?\d{3,}(?:[-_ .~]?\(?(?:\d+|edited|copy|burst|hdr|cover|top|pano|ms)\)?)*|[pr]\d{7}(?: copy)?)$"
)
_DIGEST = re.compile(
    r"^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
)
_STAMP = re.compile(r"^(?:19|20)\d\d[01]\d[0-3]\d[-_ ]\d{4,9}$")
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u3040-\u9fff]"
)  # scripts without blanks: a sentence may end in a file's name there too
_GENERIC = frozenset(
    "img image images photo photos pic pics picture pictures dsc screenshot screen shot scan scanned untitled unnamed thumb thumbnail "
    "copy file final edited new at am pm large small medium whatsapp".split()
)  # words of file names that say nothing
_STAMPED = re.compile(
    r"(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d\D{1,6}[0-2]?\d[-_.:h]?[0-5]\d(?:[-_.:m]?[0-5]\d)?(?!\d)"
)
_NUMBERED = re.compile(
    r"^(?:img|image|photo|foto|pic|picture|scan|scanned|screenshot|screen ?shot|file|thumb|thumbnail|slide|untitled|unnamed|download|dsc|unknown|default|bild|imagen|capture|frame|asset|artboard|layer|render|figure)"
    r"s?[-_ ]?[(\[#]?\d+[)\]]?(?:[-_ .x]?\d+)*$"
)
_COUNTED = re.compile(r" ?\(\d{1,2}\)$")  # a copy of a file
_COUNTER = re.compile(r"^[a-z]{1,3}(?:-[a-z]{1,2})?\d{4,}$")
_YEARS = re.compile(r"^(?:c\. ?|ca\. ?)?\d{4}s?(?: ?[-–—/] ?\d{2,4}s?)?$")
_NUMBER = re.compile(r"^[\d_\-. /:,()#]+$")
_LINKS = frozenset(
    "of o in the a and on upon de la le du al an to for by at under with go sur les des y".split()
)

_ADDRESS = re.compile(
    r"^\W{0,2}(?:(?:https?|ftp)://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+|"
    r"(?:[a-z0-9-]{2,}\.)+(?:com|net|org|info|biz|edu|gov|online|site|blog|app|dev|tv|io|me|eu|de|uk|fr|it|es|nl|be|ch|at|pl|cz|ru|ua|gr|se|no|dk|fi|pt|ro|hu|tr|il|in|cn|jp|kr|br|mx|ar|cl|au|nz|ca|us|za|ie|sk|hr|rs|bg|lt|lv|ee|vn|th|id|my|sg|hk|tw|ir)(?:/\S*)?)\W{0,2}$"
)
HAS_ADDRESS = re.compile(r"(?:https?|ftp)://\w|\bwww\.\w")


def is_file_name(low: str) -> bool:
    """Whether a text (in lower case) is certainly a file name, a camera's number or a digest, and no description."""
    if low.endswith(SUFFIXES) and len(low) < 250:
        name = low.rpartition(".")[0]
        if " " not in name:
            return not _UNSPACED.search(name)
        return _GENERIC.issuperset(
            _WORD.findall(name)
        )  # else it may be a sentence that ends in a file's name
    return bool(_CAMERA.match(low) or _DIGEST.match(low) or _STAMP.match(low))


def looks_like_file_name(text: str, low: str) -> bool:
    """Whether a text may be a file name or a number: words that are joined by signs, counters, stamps, strings without vowels."""
    if low.endswith(SUFFIXES) and len(low) < 250 or _NUMBERED.match(low):
        return True
    digits = len(_DIGIT.findall(text)) if len(text) <= 200 else 0
    if digits >= 6 and len(text) <= 60 and _STAMPED.search(low):
        return True
    if digits >= 5 and _NUMBER.match(low) and not _YEARS.match(low):
        return True
    if len(low) <= 40 and low.count(" ") <= 2 and _COUNTED.search(low):
        return True
    if text.endswith(")"):
        text = _COUNTED.sub("", text)
        low = low[: len(text)]
    joined = text.count("_")
    if " " in text:
        return joined > 1 and joined * 2 >= text.count(" ")
    return joined > 0 or (len(text) > 4 and _is_token(text, low, digits))


def _is_token(text: str, low: str, digits: int) -> bool:
    """Whether a text without blanks is no word: a slug, a counter behind a word, a mix of letters and digits, no vowel."""
    parts = low.split("-")
    if len(parts) > 2 and low.isascii():
        if digits > 1 or len(parts) > 4 or _LINKS.isdisjoint(parts[1:-1]):
            return all(parts) and len(text) > 9
    if not text.isascii():
        return False
    letters = [character for character in low if character.isalpha()]
    if digits >= 3 and len(letters) >= 4 and text[-1].isdigit() and not text.isupper():
        return True
    if _COUNTER.match(text):
        return True
    kinds = [_kind(character) for character in text]
    if len(text) >= 8 and digits and sum(one != other for one, other in zip(kinds, kinds[1:])) >= 5:
        return True
    return len(letters) > 4 and not text.isupper() and not set("aeiouy").intersection(letters)


def _kind(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.isupper() else 2


def is_address(low: str) -> bool:
    """Whether a text (in lower case) is one web or mail address."""
    return bool(_ADDRESS.match(low))
