"""Pairs: keys are content, problems are rows, blobs read what they say."""

from pathlib import Path

import pytest

from pairloom.data.pair import LARGEST, Blob, Text, content_hash, make_pair, seed_of


def test_a_key_is_content_never_name_place_or_metadata(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"..picture..")
    here = make_pair("a", Blob(data=b"picture", name="a.jpg"), ["t"], {"n": 1})
    there = make_pair("b", Blob(tmp_path / "x", 2, 7), ["t"])
    assert (here.key, here.image_key) == (there.key, there.image_key)
    assert here.image_key == content_hash(b"picture")
    assert make_pair("a", Blob(data=b"picture"), ["u"]).key != here.key
    assert make_pair("a", Blob(data=b"pictures"), ["t"]).image_key != here.image_key
    assert (
        make_pair("a", Blob(data=b"picture"), ["t", "u"]).key
        != make_pair("a", Blob(data=b"picture"), ["tu"]).key
    )
    assert here.with_texts((Text("new", "synthetic:x"),)).key == here.key


def test_parts_do_not_run_into_each_other() -> None:
    assert content_hash(b"ab", b"c") != content_hash(b"a", b"bc") != content_hash(b"abc")
    assert len(content_hash()) == 40


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (Blob(), "no image"),
        (Blob(data=b""), "image has 0 bytes"),
        (Blob(Path("gone.jpg")), "image cannot be read: No such file or directory"),
        (
            Blob(Path(__file__), size=LARGEST + 1),
            "image cannot be read: 536,870,913 bytes are more than an image has",
        ),
    ],
)
def test_an_image_that_is_not_there_is_a_problem(blob: Blob, problem: str) -> None:
    pair = make_pair("x", blob, ["t"])
    assert pair.problem.startswith(problem) and pair.image_key == "" and pair.key
    with pytest.raises(OSError):
        if blob.read() == b"":
            raise OSError


def test_a_problem_that_is_handed_in_stands_and_the_image_is_still_keyed() -> None:
    pair = make_pair("x", Blob(data=b"p"), [], problem="no text")
    assert pair.problem == "no text" and pair.image_key == content_hash(b"p")


def test_texts_with_half_characters_have_a_key() -> None:
    assert make_pair("x", Blob(data=b"p"), ["a\ud800"]).key


def test_seeds_differ_by_key_and_salt_and_are_the_same_everywhere() -> None:
    assert seed_of("k", "crop", 0) == seed_of("k", "crop", 0)
    assert len({seed_of("k"), seed_of("l"), seed_of("k", 0), seed_of("k", "0"), seed_of("k", 0, 1)}) == 5
    assert seed_of("k", 3) == int(content_hash(b"k", b"(3,)")[:16], 16) // 2 < 2**63
