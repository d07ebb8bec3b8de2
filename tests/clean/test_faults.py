"""The rules on texts, by kind: what is certain, what is a doubt, and what they must leave alone."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairloom.clean.faults import EVIDENCE, FAULTS, OF_TEXT, REPAIRABLE
from pairloom.clean.text_faults import text_faults


def severities(text: str) -> set[str]:
    return {FAULTS[code].severity for code in text_faults(text)}


CERTAIN = {
    "empty": ["", "   \n", "...", "\x00", "--", "?!"],
    "file_name": [
        "Screenshot 2020-01-01 at 10.00.00 PM.png",
        "photo 3.png",
        "IMG_2034.jpg", "DSC00012", "holiday-in-rome.jpeg", "photo (3).PNG", "Screenshot 2019-04-02 at 7.31.10.png", "20130405_120142",
        "P1020304", "PXL_20210304_121212", "d41d8cd98f00b204e9800998ecf8427e", "0b7e9a52-1c1d-4d9e-9a52-0b7e9a521c1d", "a%20b%20c.webp",
    ],
    "url_html": [
        "https://example.org/a.png?x=1", "www.example.org", "example.co.uk/pictures", "someone@example.org", "<br/>", "&nbsp;&nbsp;",
        "{{ item.caption }}", "[gallery ids=\"1,2\"]", "<img src='a.jpg'>", 'class="left" width="30"', "<?php the_title(); ?>", "{% block x %}",
    ],
    "refusal": [
        "I'm sorry, but I cannot describe this", "As an AI assistant, I have no eyes.", "Sorry, I can't help with that request.",
        "I am unable to view the picture.", "Unfortunately, I cannot provide a description of the people in this photo.", "I don't see an image.",
    ],
    "repetition": [
        "the dog " * 7, "a man on a horse, " * 5, "tree tree tree tree tree tree tree tree tree tree", "The photo shows a cat. " * 4,
    ],
}  # fmt: skip
DOUBTS = {
    "possible_file_name": [
        "a scene i16.png",
        "see the chart in fig2.jpg",
        "请看图片fig2.jpg",
        "barn 3.jpg",
        "winter_walk_in_the_park", "best-kitchen-ideas-small-homes", "Blue_Vase_03", "untitled (4)", "image12", "Bild 3", "9780340829752",
        "red-barn-1280x720", "WhatsApp Image 2021-01-02 at 11.12.13", "a8Fj3kQ9zX2", "Old bridge at Baraga.jpg", "xkcdfgh",
    ],
    "boilerplate": [
        "stock photo", "Image not available", "Photo by John Smith", "© 2014 Jane Doe. All rights reserved", "Click to enlarge image", "Loading...",
        "Slide 3 of 9", "Share this photo on Pinterest", "No caption provided", "user avatar", "Image credit: Reuters", "Download free vector",
    ],
    "spam": [
        "Buy now! Free shipping", "70% off everything", "Sofa beds for sale in Leeds - cheap prices", "Win $500 today!!!", "Mens Trainers Wholesale Factory Outlet",
        "Rolex Replica Watches Online Store", "10pcs/lot LED bulbs", "Use promo code SAVE20 at checkout for 20% off", "Call us for a free quote", "House for Sale in Oak Street, Dover",
        "Silver Ring - £19.99 - Free Delivery", "Earn cash from home, sign up", "#love #fun #sun #travel", "Mod APK Unlocked", "Subscribe to our channel, follow us",
    ],
    "possible_refusal": ["Sure! Here is a caption for your image:", "No image was provided.", "The picture could not be loaded."],
    "repetitive": ["he said no no no no no no no no and left the room to buy some bread and milk"],
    "markup": [
        "<p>A dog</p>", "A dog on a <b>red</b> sofa", "see https://example.org for a dog", "[b]A dog[/b]", "&lt;i&gt;A dog&lt;/i&gt;",
        'caption: {"a": 1}; {color: red;}', "![A dog](dog.png)",
        "Negative prompt: blurry, bad hands", "Steps: 20, Sampler: Euler a, CFG scale: 7",
    ],
    "mojibake": ["cafÃ© in Paris", "a dogâ€™s ball", "M\ufffdscara"],
    "cut_off": ["A dog with a", "A dog with ...", "A boat on the"],
}  # fmt: skip
NOTES = {
    "too_long": [" ".join(map(str, range(80)))],
    "entities": ["Tom &amp; Jerry"],
    "blanks": ["a   dog on a sofa"],
}
GOOD = [
    "A red ball left of a blue star", "café", "😀", "Loading oranges into a refrigerator car at a co-op plant", "a picture of a dog", "photo of a dog",
    "Photo of a dog on a beach", "picture of two cats", "Casino in Las Vegas at night", "A house for sale here in the valley", "Women shop online at home",
    "MAÇÃ VERMELHA", "bananas on sale at a market", "a notice posted on a wall", "Dog toys on sale in a shop window", "P-51 Mustang", "P-51", "F-16", "Boeing 747",
    "two dogs, two cats and two birds in the two houses", "ein roter Ball", "красный мяч", "赤いボール", "copyright sign", "none of the boats are moving",
    "a man taking a photo of a stock market", "photo of sks dog in a bucket", "1940-1945", "jack-in-the-box", "state-of-the-art kitchen", "St.Tropez", "Node.js",
    "I <3 you", "5 < 6 and 7 > 2", "[Main street, Creede, Colorado]", "the roundhouse [i.e. depot]", "Free Willy", "Sorry I Can't See Without My Glasses",
    "A sign that reads $2.99 a pound", "a logo on a building", "Two men order food now at a counter", "a store with a sale sign in its window", "New York, New York",
    "Picture of my grandmother in 1940", "Image of Mount Fuji taken by NASA", "Grocery store, Mt. Orab, Ohio", "“A dog’s life”", "San José",
]  # fmt: skip


@pytest.mark.parametrize("code, text", [(code, text) for code, texts in CERTAIN.items() for text in texts])
def test_what_is_certainly_no_description_is_bad(code: str, text: str) -> None:
    assert code in text_faults(text) and FAULTS[code].severity == "bad"


@pytest.mark.parametrize("code, text", [(code, text) for code, texts in DOUBTS.items() for text in texts])
def test_what_is_only_likely_is_a_doubt_and_nothing_worse(code: str, text: str) -> None:
    assert code in text_faults(text) and FAULTS[code].severity == "doubt" and "bad" not in severities(text)


@pytest.mark.parametrize("code, text", [(code, text) for code, texts in NOTES.items() for text in texts])
def test_what_is_said_beside_is_a_note(code: str, text: str) -> None:
    assert text_faults(text) == [code] and FAULTS[code].severity == "note"


@pytest.mark.parametrize("text", GOOD)
def test_captions_with_such_words_have_no_fault_and_no_doubt(text: str) -> None:
    assert not severities(text) & {"bad", "doubt"}


@given(st.text(max_size=300))
def test_any_text_gives_known_codes_of_texts(text: str) -> None:
    codes = text_faults(text)
    assert set(codes) <= OF_TEXT <= set(FAULTS) and len(set(codes)) == len(codes)


def test_evidence_is_made_of_doubts_and_repairs_are_never_bad() -> None:
    assert {FAULTS[code].severity for code in EVIDENCE} == {"doubt"}
    assert "bad" not in {FAULTS[code].severity for code in REPAIRABLE}


@given(st.lists(st.sampled_from("dog cat sofa red".split()), max_size=40))
def test_a_loop_has_four_turns_of_the_same_words(words: list[str]) -> None:
    """Against the definition, tried at every place and period."""
    from pairloom.clean.text_faults import _loops

    loops = any(
        words[at : at + period] * 4 == words[at : at + 4 * period] and 4 * period >= 8
        for period in range(1, 11)
        for at in range(len(words))
    ) or any(len(set(words[at : at + 8])) == 1 and at + 8 <= len(words) for at in range(len(words)))
    assert bool(_loops(words)) == loops


def test_real_captions_are_left_alone(real_data) -> None:
    with open(real_data / "fsa" / "metadata.csv") as file:
        fsa = [row["text"] for row in csv.DictReader(file)]
    coco = json.loads((real_data / "metrics" / "coco1000_gts.json").read_text())
    captions = [text for texts in _lists(coco) for text in texts]
    assert len(fsa) == 1615 and len(captions) == 5005
    assert not [text for text in fsa + captions if "bad" in severities(text)]
    assert sum("doubt" in severities(text) for text in captions) == 0
    assert sum("doubt" in severities(text) for text in fsa) <= 0.01 * len(fsa)


def _lists(value):
    """The lists of captions in a nested JSON value."""
    if isinstance(value, str):
        return [[value]]
    values = (
        [one for key, one in value.items() if key not in ("id", "image_id")]
        if isinstance(value, dict)
        else value
    )
    return [texts for one in values if isinstance(one, (str, dict, list)) for texts in _lists(one)]
