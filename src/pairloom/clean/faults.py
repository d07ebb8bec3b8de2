"""Table of the faults of texts and pictures that are known without a model. The rules on texts: `text_faults`.

Severities: "bad" texts and pictures are dropped by rule; "doubt" is shown and left to the judge; "note" is information.
Does not know: scores, decisions, files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A kind of fault. says: its sentence for people, used as the reason of a decision."""

    code: str
    severity: str
    says: str


SAYS = {
    "bad": {
        "no_image": "There is no picture for this text.",
        "unreadable": "The picture cannot be read.",
        "broken_row": "A row or a file of the set cannot be read.",
        "charset": "The text is in an unknown character set: convert it to UTF-8.",
        "tiny": "The picture is smaller than 16 pixels on a side.",
        "blank": "The picture is one flat colour.",
        "placeholder": "The picture stands under many texts that have nothing in common: a placeholder.",
        "empty": "The text is empty.",
        "file_name": "The text is a file name or a camera's number, not a description.",
        "url_html": "The text is a web address or page markup without words.",
        "refusal": "The text is a language model's refusal, not a description.",
        "repetition": "The text is one phrase in a loop.",
        "exact_duplicate": "The same picture with the same text stands earlier in the set.",
        "merged_copy": "A better copy of the picture stands in the set and has taken over this text.",
        "other_language": "The text is in another language than most of the set.",
        "labelled_bad": "A person said that this text does not describe its picture.",
    },
    "doubt": {
        "nearly_empty": "There is nearly nothing in the picture: one flat ground with little on it.",
        "dark": "The picture is almost black.",
        "over_exposed": "The picture is almost white, without contrast.",
        "blurred": "The picture is blurred.",
        "odd_size": "The picture is far larger or smaller than the others of the set.",
        "no_text": "There is no text for this picture.",
        "possible_file_name": "The text looks like a file name or a number.",
        "markup": "There is page markup, code or a web address in the text.",
        "spam": "The text reads like advertising.",
        "boilerplate": "The text is a stock phrase or a credit, which fits any picture.",
        "possible_refusal": "The text may be a language model's answer, not a caption.",
        "mojibake": "The text was decoded with the wrong character set.",
        "repetitive": "A part of the text repeats itself in a loop.",
        "unclear_language": "The text may be in another language than most of the set.",
        "cut_off": "The text seems to be cut off in the middle.",
        "wrong_word": "A word does not seem to fit the picture.",
        "conflict": "The same picture stands elsewhere with different texts.",
        "duplicate_name": "Another pair of the same file has this name too.",
        "leak": "The same picture, or a copy of it, stands in the other set (train/test leakage).",
        "found_elsewhere": "The picture was found by its name alone, in another folder than the row's.",
        "extreme_shape": "One side of the picture is more than three times the other.",
    },
    "note": {
        "entities": "Characters are written as pages write them (&amp;).",
        "blanks": "There are runs of blanks in the text.",
        "shared_phrase": "The text begins or ends with a phrase that most texts of the set have.",
        "repaired_text": "The text was repaired; the ledger has the original too.",
        "too_long": "The text is longer than image-text models read (77 tokens for CLIP).",
        "common_text": "The same text stands on many different pictures.",
        "near_duplicate": "The same picture, or a mirrored, turned, cropped or resized copy, stands elsewhere in the set.",
        "animated": "The file has several frames or pages; the first is used.",
        "rotated": "The camera's rotation mark was applied.",
        "cmyk": "The picture is in printing colours (CMYK) and was converted.",
        "deep": "The picture has more than 8 bits a channel and was scaled.",
        "alpha": "The picture is partly transparent; it was laid on white.",
        "labelled_good": "A person said that this text describes its picture.",
        "repaired": "The reader had to repair or leave out something (character set, control characters).",
        "mixed_caption_files": "Both .txt and .caption files stand beside the picture; .txt is read.",
    },
}
FAULTS = {code: Fault(code, severity, says) for severity, each in SAYS.items() for code, says in each.items()}


def is_bad(codes: Iterable[str]) -> bool:
    """Whether one of some faults is a bad one."""
    return any(FAULTS[code].severity == "bad" for code in codes)


# faults of a text; all others are faults of the picture or of the pair
OF_TEXT = frozenset(
    "empty file_name possible_file_name url_html markup spam boilerplate refusal possible_refusal mojibake repetition repetitive entities "
    "blanks shared_phrase repaired_text too_long cut_off common_text other_language unclear_language labelled_bad labelled_good".split()
)
# doubts that a text describes anything: a weak score is enough for its removal, no judge learns from it, and no caption has one
EVIDENCE = frozenset(
    "possible_file_name spam boilerplate possible_refusal repetitive unclear_language".split()
)
# what a repair undoes
REPAIRABLE = frozenset("mojibake markup entities blanks shared_phrase".split())
