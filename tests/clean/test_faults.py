"""The rule checks on texts: what they catch, and what they must leave alone."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairloom.clean.faults import FAULTS, text_faults


@pytest.mark.parametrize(
    "text, code",
    [
        ("", "empty"), ("   \n", "empty"), ("...", "empty"), ("\x00", "empty"),
        ("IMG_2034.jpg", "file_name"), ("DSC00012", "file_name"), ("9f86d081884c7d65", "file_name"), ("20130405_1201", "file_name"),
        ("https://example.org/a.png?x=1", "url_html"), ("<p>A dog</p>", "url_html"),
        ("Buy now! Free shipping", "spam"), ("70% off everything", "spam"),
        ("stock photo", "boilerplate"), ("Image not available", "boilerplate"), ("Photo by John Smith", "boilerplate"),
        ("I'm sorry, but I cannot describe this", "refusal"),
        ("cafÃ© in Paris", "mojibake"),
        ("the dog the dog the dog the dog the dog the dog the dog", "repetition"),
        ("A dog with a", "cut_off"), ("A dog with ...", "cut_off"),
        ("word " * 80, "too_long"),
    ],
)  # fmt: skip
def test_caught(text, code):
    assert code in text_faults(text) and code in FAULTS


@pytest.mark.parametrize(
    "text",
    [
        "A red ball left of a blue star", "café", "😀", "Loading oranges into a refrigerator car at a co-op plant",
        "two dogs, two cats and two birds in the two houses", "a sign that says sale", "ein roter Ball", "красный мяч", "赤いボール",
        "copyright sign", "a man taking a photo of a stock market", "discount", "a picture of a dog", "none of the boats are moving",
    ],
)  # fmt: skip
def test_left_alone(text):
    assert not [code for code in text_faults(text) if FAULTS[code].severity == "bad"]


@given(st.text(max_size=300))
def test_any_text_gives_known_codes(text):
    assert set(text_faults(text)) <= set(FAULTS)


def test_real_captions_are_left_alone(real_data):
    with open(real_data / "fsa" / "metadata.csv") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    caught = [text for text in texts if any(FAULTS[code].severity == "bad" for code in text_faults(text))]
    assert len(texts) == 1615 and len(caught) <= 2, caught
