"""Tokenizer of the caption metrics: Stanford's PTBTokenizer with coco-caption's punctuation list, without Java.

Published BLEU, ROUGE and CIDEr are numbers of *this* tokenizer (CoreNLP 3.4.1, lower-cased), quirks included: the
brackets ( [ { come out as -lrb- -lsb- -lcb- and stay, since lower-casing precedes the punctuation filter; runs of
! and ? stay; `n't`, `'s`, `cannot` and `gonna` are split; hyphenated words are whole; abbreviations keep their dot.
The rules are English: text in a script without spaces stays one word. Known difference from PTBTokenizer: escaped tags
(&lt;b&gt;) stay whole.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))

_STATES = (
    "Ala|Ariz|Ark|Calif|Colo|Conn|Dak|Del|Fla|Ga|Ill|Ind|Kans?|Ky|La|Mass|Md|Mich|Minn|Miss|Mo|Mont|Neb|Nev|Okla|"
    "Ore|Pa|Penn|Tenn|Tex|Va|Vt|Wash|Wisc?|Wyo"
)
_TITLES = (
    "Mr|Mrs|Ms|Dr|St|Ste|Sgt|Lt|Rev|Jr|Sr|Gen|Col|Capt|Gov|Sens?|Reps?|Profs?|Hon|Messrs|Maj|Cpl|Pvt|Cmdr|Adm|Pres|Supt|Insp|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tue|Tues|Wed|Thu|Thurs?|Fri|"
    "Inc|Cos?|Corp|Ltd|Bros|Dept|Univ|Ave|Blvd|Rd|Mts?|Ft|Lab|Esq|vs|etc|al|ca|Mlle|Mme|Alex|Wm|Jos|Cie|Ph\\.D"
)
_WORD = r"(?:[^\W_]|[\u0300-\u036f])"
_TOKEN = re.compile(
    rf"""
        (?:https?://|www\.)[^\s<>"]*[\w/] | [\w.+-]+@[\w-]+(?:\.[\w-]+)*               # addresses, mail
      | [@\#][A-Za-z_]\w* | </?[A-Za-z][^<>]*>                                          # handles, tags
      | [:;=]-?[()](?!\w)                                                              # smileys
      | {_WORD}+\.(?=[,;:])                                                             # kw., : not a sentence's end
      | (?:[A-Za-z]\.){{2,}}(?:[A-Za-z](?![\w']))? | [A-Z]\.(?!\w)                        # U.S.  p.m.  I.C.R.R  J.
      | (?:{_STATES})\.(?!\w) | (?i:{_TITLES})\.(?!\w) | (?i:no)\.(?=\s*\d)            # abbreviations
      | '(?i:n)'(?!\w) | '\d0s\b | '(?i:em|n|til|cause)\b
      | '(?i:t)(?=(?i:is|was)\b)
      | (?i:n't)\b | '(?i:s|m|d|re|ve|ll)\b                                                 # what contractions leave
      | (?i:can(?=not\b)|gon(?=na\b)|wan(?=na\b)|got(?=ta\b)|lem(?=me\b)|gim(?=me\b)|y'(?=all\b))
      | \d{{1,2}}:\d\d(?!\d) | (?:\d+-)?\d+/\d+(?!\w)
      | \d+(?:[.,]\d+)+(?:-{_WORD}+)* | (?<![\w.])[+-]\d+(?:[.,]\d+)*(?!\w)
      | {_WORD}+?(?=(?i:n't)\b)                                                            # ca|n't  is|n't
      | (?i:[odl]'){_WORD}+(?:-{_WORD}+)* | ma'am\b | o'clock\b | ol'(?!\w)
      | (?:{_WORD}|_)+(?:[-/&.](?:{_WORD}|_)+ | -(?!-)(?!\w)(?<=\w-)(?=\s|$))*
      | \.{{3,}} | -{{2,}} | [!?]+ | `` | \S
    """,
    re.VERBOSE,
)
_RENAMED = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "£": "#",
    "€": "$",
}
_RENAMED |= {"¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4"}
_MARKS = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "—": " -- ", "–": " -- ", "…": " ... ", "\u00ad": None}
)


def words(text: str) -> list[str]:
    """Tokenise one text: its words in lower case, without punctuation."""
    text = unicodedata.normalize("NFC", html.unescape(text)).translate(_MARKS)
    tokens = []
    for match in _TOKEN.finditer(text):
        word = match.group().lower()
        for mark, name in _RENAMED.items() if not (word.isascii() and word.isalnum()) else ():
            word = word.replace(mark, name)
        if word not in DROPPED and word != '"' and not re.fullmatch(r"-{2,}|\.{2,}", word):
            tokens.extend(word.split())
    return tokens


def tokenize(texts: Iterable[str]) -> list[str]:
    """Tokenise texts: the words of each, joined by single spaces."""
    return [" ".join(words(text)) for text in texts]
