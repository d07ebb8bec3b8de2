"""Tables of pictures in a .txt or without a header, as Flickr8k, Flickr30k and many captioners leave them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pairloom
from pairloom.data.formats import _look

TEXTS = ["a dog on a beach", "two cats, asleep", 'a man with a "hat"', "a red car"]


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(len(TEXTS)):
        pixels = np.random.default_rng(at).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{at}.jpg")
    return folder


def texts(where: Path) -> list[list[str]]:
    pairs = list(pairloom.open(where))
    assert [pair.problem for pair in pairs] == [""] * len(pairs)
    return [[text.text for text in pair.texts] for pair in pairs]


KINDS = {
    "Flickr8k of Kaggle": ("captions.txt", "image,caption\n", '{at}.jpg,"{quoted}"\n'),
    "Flickr8k's token file": ("Flickr8k.token.txt", "", "{at}.jpg#{number}\t{text}\n"),
    "Flickr30k without a header": ("captions.txt", "", "{at}.jpg|{number}|{text}\n"),
    "Flickr30k's results": ("results.txt", "image_name| comment_number| comment\n", "{at}.jpg| {number}| {text}\n"),
    "a list with tabs": ("list.txt", "", "{at}.jpg\t{text}\n"),
    "a list with blanks": ("list.txt", "", "{at}.jpg {text}\n"),
    "a list with commas": ("list.txt", "", "{at}.jpg,{text}\n"),
    "a CSV without a header": ("captions.csv", "", "{at}.jpg;{text}\n"),
    "a TSV without a header": ("captions.tsv", "", "{at}.jpg\t{text}\n"),
}  # fmt: skip


@pytest.mark.parametrize("inside", ["", "Images"])
@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_read_and_what_clean_writes_of_them_too(tmp_path: Path, kind: str, inside: str) -> None:
    name, head, row = KINDS[kind]
    pictures(tmp_path / "raw" / inside)
    lines = [
        row.format(at=at, number=number, text=text, quoted=text.replace('"', '""'))
        for at, text in enumerate(TEXTS)
        for number in range(2)
    ]
    (tmp_path / "raw" / name).write_text(head + "".join(lines), "utf-8")
    wanted = [[text, text] for text in TEXTS]
    assert texts(tmp_path / "raw") == wanted == texts(tmp_path / "raw" / name)
    result = pairloom.open(tmp_path / "raw").clean(tmp_path / "out", captions=False, workers=1)
    assert texts(result.pairs) == wanted
    if "comment_number" in head:
        rows = (result.pairs / name).read_text().splitlines()
        assert [line.split(",")[1] for line in rows] == ["comment_number", *("0", "1") * 4]


def test_of_two_lists_about_the_same_pictures_one_is_read(tmp_path: Path) -> None:
    pictures(tmp_path)
    for name in ("Flickr8k.token.txt", "Flickr8k.lemma.token.txt"):
        lines = [f"{at}.jpg#0\t{text}{' lemma' * ('lemma' in name)}\n" for at, text in enumerate(TEXTS)]
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "CrowdFlowerAnnotations.txt").write_text("0.jpg\t1.jpg#2\t1.0\t3\t0\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("0.jpg\n1.jpg\n")
    (tmp_path / "readme.txt").write_text("words, and more words\nof a set\n")
    assert texts(tmp_path) == [[text] for text in TEXTS]
    notes = pairloom.open(tmp_path).notes
    assert notes == ("Flickr8k.lemma.token.txt was not read: it lists pictures that another list has.",)


@pytest.mark.parametrize(
    "words",
    ["a dog, a cat\n", "cat.jpg is a name\nand this is a text\n", "1.jpg\n2.jpg\n", "", "a,b,c\n1,2,3\n"],
)
def test_other_texts_are_no_lists(tmp_path: Path, words: str) -> None:
    (tmp_path / "x.txt").write_text(words)
    assert not _look.is_list(tmp_path / "x.txt")


def test_the_text_of_a_picture_is_no_list_whatever_it_says(tmp_path: Path) -> None:
    pictures(tmp_path)
    for at in range(4):
        (tmp_path / f"{at}.txt").write_text("0.jpg, the first of them\n1.jpg, the second\n")
    assert len(texts(tmp_path)) == 4 and pairloom.open(tmp_path).format == "folder_text"


def test_a_row_that_does_not_fit_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "list.txt").write_text("0.jpg|0|a dog\n1.jpg\n2.jpg|0|a cat | and a dog\n")
    pairs = list(pairloom.open(tmp_path / "list.txt"))
    assert [pair.problem for pair in pairs] == ["", "row has 1 cells, not 3", ""]
    assert pairs[2].texts[0].text == "a cat | and a dog"
