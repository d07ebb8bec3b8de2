"""Tokens: framing, determinism, BERT's numbering, BLIP's cleaning, text that tries to be a special token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import sentencepiece

from pairloom.data.characters import character_tokens
from pairloom.data.normalisers import clean_first
from pairloom.data.roles import FIRST
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

PAIRED = [
    f"{a}{b} {b}{a}" for a in "abcdefgh" for b in "ijklmnop"
]  # every merge has the same count as many others
TEXTS = [*PAIRED, "A red square, left of a blue circle.", "Two dogs and a (small) cat!", "naïve café"] * 3


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens.train(TEXTS, 160)


def test_special_tokens_stand_where_they_should(tokens: Tokens) -> None:
    ids = tokens.tokenizer.get_vocab(with_added_tokens=True)
    assert [ids[name] for name in FIRST] == [0, 1, 2, 3, 4]
    assert (tokens.pad, tokens.unk, tokens.cls, tokens.sep, tokens.mask) == (0, 1, 2, 3, 4)
    assert (tokens.dec, tokens.enc) == (tokens.size - 2, tokens.size - 1)
    assert tokens.size == len(ids) <= 160


def test_ties_are_the_same_in_another_process_and_another_order(tokens: Tokens) -> None:
    code = (
        "import sys, json; from pairloom.data.tokens import Tokens;"
        "sys.stdout.write(Tokens.train(reversed(json.load(sys.stdin)), 160).to_json())"
    )
    import json

    told = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS), capture_output=True, text=True, check=True
    )
    assert told.stdout == tokens.to_json()


def test_encode_frames_pads_and_cuts(tokens: Tokens) -> None:
    ids, keep = tokens.encode(["a red square", "two dogs and a cat left of a blue circle"], 6)
    assert ids.shape == keep.shape and ids.shape[1] <= 6
    for row, kept in zip(ids.tolist(), keep.tolist()):
        real = [token for token, real in zip(row, kept) if real]
        assert real[0] == tokens.cls and real[-1] == tokens.sep
        assert kept == sorted(kept, reverse=True)
        assert all(token == tokens.pad for token, real in zip(row, kept) if not real)
    assert keep[1].sum() == 6
    assert tokens.too_long("two dogs and a cat left of a blue circle", 6)


def test_too_long_is_what_encode_cuts(tokens: Tokens) -> None:
    text = "a red square left of two dogs"
    exact = len(tokens.rows([text], 100)[0])
    assert not tokens.too_long(text, exact)
    assert tokens.too_long(text, exact - 1)
    assert len(tokens.rows([text], exact - 1)[0]) == exact - 1


def test_decode_gives_the_words_back(tokens: Tokens) -> None:
    ids, _ = tokens.encode(["A Red square"], 30)
    assert tokens.decode(ids[0]) == "a red square"
    assert (
        tokens.decode([tokens.dec, *ids[0, 1:].tolist(), 9, 9]) == "a red square"
    )  # what follows [SEP] is not said


def test_text_cannot_spell_a_special_token(tokens: Tokens) -> None:
    row = tokens.rows(["a [SEP] b [ENC] c [PAD]"], 100)[0]
    specials = {tokens.pad, tokens.sep, tokens.enc, tokens.dec, tokens.cls}
    assert not specials & set(row[1:-1])


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=60), st.integers(3, 12))
def test_any_text_can_be_read(text: str, length: int) -> None:
    tokens = _small()
    row = tokens.rows([text], length)[0]
    assert 2 <= len(row) <= length and row[0] == tokens.cls and row[-1] == tokens.sep
    assert all(0 <= token < tokens.size for token in row)


_KEPT: list[Tokens] = []


def _small() -> Tokens:
    if not _KEPT:
        _KEPT.append(Tokens.train(TEXTS, 100))
    return _KEPT[0]


def test_hard_texts(tokens: Tokens) -> None:
    for text in ("", "\x00", "\ud800 half", "x" * 100_000, "a " * 50_000, "图片 صورة चित्र", "​\r\n"):
        row = tokens.rows([text], 8)[0]
        assert len(row) <= 8 and row[-1] == tokens.sep


def test_saves_and_loads_to_the_same_ids(tokens: Tokens, tmp_path: Path) -> None:
    tokens.save(tmp_path)
    again = Tokens.load(tmp_path)
    assert again.to_json() == tokens.to_json()
    assert again.rows(TEXTS, 20) == tokens.rows(TEXTS, 20)
    assert again.rows(["[SEP]"], 20) == tokens.rows(["[SEP]"], 20)


def test_blip_cleaning_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    made = Tokens.train(TEXTS, 160, clean="blip")
    made.save(tmp_path)
    plain = Tokens.train(
        [text.replace(".", " ").replace("!", " ").replace("(", " ").replace(")", " ") for text in TEXTS], 160
    )
    for tokens in (made, Tokens.load(tmp_path)):
        assert tokens.rows(['A "red" (square)!!! ~ left;'], 50) == tokens.rows(["a red square left"], 50)
        assert tokens.rows([" ".join(["dogs"] * 40)], 500) == tokens.rows([" ".join(["dogs"] * 30)], 500)
        assert tokens.rows(["a, b"], 50) != tokens.rows(["a b"], 50)  # the comma stays
        assert tokens.rows(["\n".join(["dogs"] * 40)], 500) == tokens.rows([" ".join(["dogs"] * 30)], 500)
    assert (
        made.tokenizer.get_vocab() == plain.tokenizer.get_vocab()
    )  # the vocabulary is learned from cleaned text


def test_a_cleaning_takes_the_place_of_another(tmp_path: Path) -> None:
    """Loaded with the same cleaning a file stays as it is; with another one, or none, that one alone is left."""
    Tokens.train(TEXTS, 160, clean="blip").save(tmp_path)
    assert Tokens.load(tmp_path, "blip").to_json() == Tokens.load(tmp_path).to_json()
    other = Tokens.load(tmp_path, "blip_statement")
    assert other.rows([" ".join(["dogs"] * 50)], 500) == other.rows([" ".join(["dogs"] * 40)], 500)
    clean_first(other.tokenizer, "")
    plain = Tokens.train(TEXTS, 160)
    assert json.loads(other.to_json())["normalizer"] == json.loads(plain.to_json())["normalizer"]


def test_berts_vocabulary_file_gets_blips_two_tokens(tmp_path: Path) -> None:
    words = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += ["a", "red", "square", "##s"]
    words += [f"word{number}" for number in range(30522 - len(words))]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    tokens = Tokens.load(tmp_path)
    assert (tokens.size, tokens.dec, tokens.enc) == (30524, 30522, 30523)
    assert (tokens.cls, tokens.sep, tokens.pad) == (101, 102, 0)
    assert tokens.rows(["A red squares"], 20) == [[101, 104, 105, 106, 107, 102]]


def test_reads_as_transformers_does(tokens: Tokens, tmp_path: Path) -> None:
    from transformers import BertTokenizer

    words = sorted(tokens.tokenizer.get_vocab(with_added_tokens=False), key=tokens.tokenizer.token_to_id)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    theirs = BertTokenizer(vocab=str(tmp_path / "vocab.txt"))
    texts = ["A red square, left of a blue circle.", "naïve café", "don't stop-it", "ai abai zzz", "图 a"]
    assert tokens.rows(texts, 40) == theirs(texts)["input_ids"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no tokenizer"),
        ({"tokenizer.json": "{not json"}, "not a tokenizer"),
        ({"tokenizer.json": "{}"}, "not a tokenizer"),
        ({"vocab.txt": "a\nb\nc\n"}, "has no"),
        ({"vocab.txt": "[PAD]\n[PAD]\n"}, "not a vocabulary"),
    ],
)
def test_something_else_is_a_mistake(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(Mistake, match=said):
        Tokens.load(tmp_path)


def test_nothing_to_learn_from_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="no text"):
        Tokens.train(["", "  ", "\x00"], 100)
    with pytest.raises(Mistake, match="Did you mean 'blip'"):
        Tokens.train(["a"], 100, clean="blib")


def test_t5_has_an_end_and_no_start(tmp_path: Path) -> None:
    sentencepiece("$A </s>", "<pad>", "</s>", "<unk>").save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens.load(tmp_path)
    assert tokens.roles == {"pad": 0, "unk": 2, "sep": 1} and (tokens.prefix, tokens.suffix) == ([], [1])
    ids, mask = tokens.encode(["a red square", "a"], 20)
    assert ids.tolist() == [[3, 4, 5, 1], [3, 1, 0, 0]] and mask.sum(1).tolist() == [4, 2]
    assert tokens.decode(ids[0]) == "a red square" and tokens.decode(ids[1]) == "a"
    assert tokens.rows(["a red square"], 3) == [[3, 4, 1]] and tokens.bare(["a red square"]) == [[3, 4, 5]]
    assert tokens.too_long("a red square", 3) and not tokens.too_long("a red square", 4)
    assert tokens.rows(["\u56fe"], 9)[0][-2:] == [tokens.unk, 1]
    with pytest.raises(Mistake, match=r"no token for 'cls' \(\[CLS\] or") as caught:
        tokens.id("cls")
    assert "pad, unk, sep" in caught.value.why
    tokens.save(tmp_path)
    assert Tokens.load(tmp_path).roles == tokens.roles


def test_sentencepiece_with_a_start_and_a_mask() -> None:
    """XLM-R's layout; and a template that begins texts by their end is believed rather than the names (OPT)."""
    names = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokens = Tokens(sentencepiece("<s> $A </s>", *names))
    assert [tokens.roles[role] for role in ("cls", "pad", "sep", "unk", "mask")] == [0, 1, 2, 3, 4]
    assert tokens.rows(["a red"], 9) == [[0, 5, 6, 2]]
    assert Tokens(sentencepiece("</s> $A </s>", *names)).rows(["a red"], 9) == [[2, 5, 6, 2]]


def test_characters() -> None:
    """Zhang et al.'s 70 characters, as Reed et al. (2016) read texts: no start, no end, anything else is as if nothing."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
    alphabet = "".join(dict.fromkeys(alphabet)) + "\n"
    tokens = character_tokens(alphabet)
    assert (len(alphabet), tokens.size) == (70, 71) and tokens.roles == {"pad": 0, "unk": 0}
    assert tokens.rows(["A b\u00e9!"], 201) == [[1, 69, 2, 0, alphabet.index("!") + 1]]
    assert tokens.decode(tokens.rows(["the bird is red"], 201)[0]) == "the bird is red"
    assert len(tokens.rows(["x" * 300], 201)[0]) == 201 and tokens.too_long("x" * 202, 201)
    assert Tokens.from_json(tokens.to_json()).rows(["a\nb"], 9) == tokens.rows(["a\nb"], 9) == [[1, 70, 2]]
    with pytest.raises(ValueError, match="twice"):
        character_tokens("aba")


def test_roles_are_added_behind_what_is_there(tokens: Tokens) -> None:
    made = tokens.with_roles("mask", "end", "image")
    assert (made.id("end"), made.id("image"), made.size) == (tokens.size, tokens.size + 1, tokens.size + 2)
    assert made.mask == tokens.mask and made.with_roles("image") is made and "image" not in tokens.roles
    letters = character_tokens("abc").with_roles("mask")
    assert letters.mask == letters.size - 1 == 4 and letters.rows(["a[MASK]b"], 20)[0][0] == 1
