"""Table of the faults of texts and pictures that are known without a model. The rules on texts: `text_faults`.

Severities: "bad" texts and pictures are dropped by rule; "doubt" is shown and left to the judge; "note" is information.
Does not know: scores, decisions, files.
"""

from __future__ import annotations

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
        Fault(
            "placeholder",
            "bad",
            "The picture stands under many texts that have nothing in common: a placeholder.",
        ),
        Fault(
            "nearly_empty",
            "doubt",
            "There is nearly nothing in the picture: one flat ground with little on it.",
        ),
        Fault("dark", "doubt", "The picture is almost black."),
        Fault("over_exposed", "doubt", "The picture is almost white, without contrast."),
        Fault("blurred", "doubt", "The picture is blurred."),
        Fault("odd_size", "doubt", "The picture is far larger or smaller than the others of the set."),
        Fault("no_text", "doubt", "There is no text for this picture."),
        Fault("empty", "bad", "The text is empty."),
        Fault("file_name", "bad", "The text is a file name or a camera's number, not a description."),
        Fault("possible_file_name", "doubt", "The text looks like a file name or a number."),
        Fault("url_html", "bad", "The text is a web address or page markup without words."),
        Fault("markup", "doubt", "There is page markup, code or a web address in the text."),
        Fault("spam", "doubt", "The text reads like advertising."),
        Fault("boilerplate", "doubt", "The text is a stock phrase or a credit, which fits any picture."),
        Fault("refusal", "bad", "The text is a language model's refusal, not a description."),
        Fault("possible_refusal", "doubt", "The text may be a language model's answer, not a caption."),
        Fault("mojibake", "doubt", "The text was decoded with the wrong character set."),
        Fault("repetition", "bad", "The text is one phrase in a loop."),
        Fault("repetitive", "doubt", "A part of the text repeats itself in a loop."),
        Fault("entities", "note", "Characters are written as pages write them (&amp;)."),
        Fault("blanks", "note", "There are runs of blanks in the text."),
        Fault(
            "shared_phrase", "note", "The text begins or ends with a phrase that most texts of the set have."
        ),
        Fault("repaired_text", "note", "The text was repaired; the ledger has the original too."),
        Fault("exact_duplicate", "bad", "The same picture with the same text stands earlier in the set."),
        Fault(
            "merged_copy",
            "bad",
            "A better copy of the picture stands in the set and has taken over this text.",
        ),
        Fault("other_language", "bad", "The text is in another language than most of the set."),
        Fault("unclear_language", "doubt", "The text may be in another language than most of the set."),
        Fault("cut_off", "doubt", "The text seems to be cut off in the middle."),
        Fault("wrong_word", "doubt", "A word does not seem to fit the picture."),  # found by the judge
        Fault("too_long", "note", "The text is longer than image-text models read (77 tokens for CLIP)."),
        Fault("common_text", "note", "The same text stands on many different pictures."),
        Fault("conflict", "doubt", "The same picture stands elsewhere with different texts."),
        Fault("duplicate_name", "doubt", "Another pair of the same file has this name too."),
        Fault(
            "near_duplicate",
            "note",
            "The same picture, or a mirrored, turned, cropped or resized copy, stands elsewhere in the set.",
        ),
        Fault(
            "leak",
            "doubt",
            "The same picture, or a copy of it, stands in the other set (train/test leakage).",
        ),
        Fault(
            "found_elsewhere",
            "doubt",
            "The picture was found by its name alone, in another folder than the row's.",
        ),
        Fault("extreme_shape", "doubt", "One side of the picture is more than three times the other."),
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
    "empty file_name possible_file_name url_html markup spam boilerplate refusal possible_refusal mojibake repetition repetitive entities "
    "blanks shared_phrase repaired_text too_long cut_off common_text other_language unclear_language labelled_bad labelled_good".split()
)
# doubts that a text describes anything: a weak score is enough for its removal, no judge learns from it, and no caption has one
EVIDENCE = frozenset(
    "possible_file_name spam boilerplate possible_refusal repetitive unclear_language".split()
)
# what a repair undoes
REPAIRABLE = frozenset("mojibake markup entities blanks shared_phrase".split())
