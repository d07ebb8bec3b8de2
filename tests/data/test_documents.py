"""Documents: the layouts they are read from, the rows they are cut into, and mixtures of sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pairloom.data.asked import kind_of, open_examples
from pairloom.data.datasets.documents import Dataset, cut
from pairloom.data.mixture import Mixture
from pairloom.data.order import Plan
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.world import World, write_folder
from pairloom.world.documents import lessons, new_words, write_documents
from pairloom.world.scene import Turn

SMALL = World(12, seed=3, level="simple", size=32, styles=("terse",))
TOKENS = Tokens.train(
    ["one two three four five six seven eight red cat blue dog a pictures."] * 3, 120
).with_roles("end", "image")
CONFIG = SimpleNamespace(length=16, images=3, next_image=False)


def album(where: Path, count: int = 4) -> Path:
    write_folder(replace(SMALL, count=count), where, where.with_suffix(".truth"))
    for file in where.glob("*.txt"):
        file.unlink()
    return where


def told(path: Path) -> list[Any]:
    return list(open_examples(path, "documents"))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_obelics(tmp_path: Path, suffix: str) -> None:
    where = album(tmp_path / "set")
    rows = [
        {"texts": ["before", None, "after", None], "images": [None, "000000.jpg", None, "https://a.b/c/000001.jpg?x=1"]},
        {"texts": [None, "words"], "images": ["https://a.b/gone.jpg", None]},
        {"texts": ["both"], "images": ["000002.jpg"]},
        {"texts": ["one", "two"], "images": [None]},
        {"texts": [None, "kept", None], "images": ["gone.jpg", None, "000003.jpg"]},
    ]  # fmt: skip
    file = where / f"pages{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        lines = "\n".join(map(json.dumps, rows))
        file.write_text(lines if suffix == ".jsonl" else json.dumps(rows))
    assert kind_of(where) == ("documents", "obelics") == kind_of(file)
    whole, gone, both, uneven, half = told(where)
    assert whole.texts == ("before", "after", "") and [blob.path.name for blob in whole.images] == [
        "000000.jpg",
        "000001.jpg",
    ]
    assert not whole.problem and "web address" in gone.problem
    assert "a text and a picture" in both.problem and "one length" in uneven.problem
    assert half.texts == ("kept", "") and half.meta["pictures left out"] == 1 and not half.problem


def test_mmc4(tmp_path: Path) -> None:
    where = album(tmp_path / "set")
    info = [
        {"image_name": "000001.jpg", "matched_text_index": 1, "matched_sim": 0.3},
        {"raw_url": "http://x.y/000000.jpg", "matched_text_index": 0, "matched_sim": 0.2},
    ]
    rows = [
        {"text_list": ["one", "two", "three"], "image_info": info},
        {"text_list": ["one"], "image_info": [{"image_name": "000001.jpg", "matched_text_index": 4}]},
    ]
    (where / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert kind_of(where) == ("documents", "mmc4")
    whole, wrong = told(where)
    assert whole.texts == ("", "one", "two three")
    assert [blob.path.name for blob in whole.images] == ["000000.jpg", "000001.jpg"]
    assert "matched to sentence 4 of 1" in wrong.problem


def test_marks_must_match_their_pictures(tmp_path: Path) -> None:
    where = album(tmp_path / "set")
    rows = [
        {"text": "a <image>b<image>", "images": ["000000.jpg", "000001.jpg"]},
        {"text": "a <image> b <image>", "images": ["000000.jpg"]},
    ]
    (where / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    whole, wrong = told(where)
    assert whole.texts == ("a", "b", "") and wrong.problem == "its text marks 2 pictures, and it has 1"
    lesson = Dataset(where, None)
    assert lesson.index.skipped == {wrong.problem: 1} and len(lesson.documents) == 1
    (where / "docs.jsonl").write_text(json.dumps(rows[1]))
    with pytest.raises(Mistake, match="(?s)nothing to learn from.*marks 2 pictures"):
        Dataset(where, None)


def words(ids: list[int]) -> list[str]:
    return [TOKENS.tokenizer.id_to_token(at) for at in ids]


def test_a_row_by_hand() -> None:
    """[CLS] text <|endofchunk|> <image> text <|endofchunk|> ... [SEP], and the version that marks one text earlier."""
    config = SimpleNamespace(length=40, images=3, next_image=True)
    ((here, ahead), pictures), = cut(("one", "two", "three"), [7, 9], TOKENS, config)  # fmt: skip
    assert pictures == [7, 9]
    assert (
        words(here)
        == "[CLS] one <|endofchunk|> <image> two <|endofchunk|> <image> three <|endofchunk|> [SEP]".split()
    )
    assert (
        words(ahead)
        == "[CLS] <image> one <|endofchunk|> <image> two <|endofchunk|> three <|endofchunk|> [SEP]".split()
    )
    ((only,), _), = cut(("one", "two", "three"), [7, 9], TOKENS, CONFIG)  # fmt: skip
    assert only == here
    ((first, second), _), = cut(("", "two", "three"), [7, 9], TOKENS, config)  # fmt: skip
    assert words(second) == "[CLS] <image> <image> two <|endofchunk|> three <|endofchunk|> [SEP]".split()
    assert first != second


def test_long_documents_become_several_rows_and_lose_nothing() -> None:
    texts = ("one two", *(["three four five"] * 8), "six " * 40)
    rows = list(cut(texts, list(range(9)), TOKENS, CONFIG))
    assert [picture for _, pictures in rows for picture in pictures] == list(range(9))
    for versions, pictures in rows:
        (row,) = versions
        assert len(row) <= CONFIG.length and len(pictures) <= CONFIG.images
        assert row.count(TOKENS.id("image")) == len(pictures)
    said = [word for versions, _ in rows for word in words(versions[0])]
    assert said.count("three") == 8 and said.count("one") == 1 and said.count("six") > 5


def test_pairs_are_documents_of_one_picture(tmp_path: Path) -> None:
    write_folder(SMALL, tmp_path / "pairs")
    lesson = Dataset(tmp_path / "pairs", None)
    loader = lesson.loader(TOKENS, CONFIG, Transform(32), lesson.split(0.0)[0], False, 0)
    (batch,) = next(loader.read(Plan(4), 0))
    assert batch.images.shape == (4, 1, 3, 32, 32)
    assert (batch.texts.ids[:, 0] == TOKENS.cls).all() and (batch.texts.ids[:, 1] == TOKENS.id("image")).all()


def test_the_drawn_world_writes_pages_and_lessons(tmp_path: Path) -> None:
    for kind in ("pages", "lessons"):
        out = write_documents(SMALL, tmp_path / kind, kind)
        documents = told(out)
        assert sum(len(one.images) for one in documents) == 12 and not any(one.problem for one in documents)
        loader = Dataset(out, None).loader(TOKENS, CONFIG, Transform(32), torch.arange(2).numpy(), False, 0)
        (batch,) = next(loader.read(Plan(2), 0))
        marks = (batch.texts.ids == TOKENS.id("image")).sum(1)
        assert batch.images.shape[1] == int(marks.max()) and batch.texts.ids.shape[1] <= CONFIG.length
    with pytest.raises(Mistake, match="exists already"):
        write_documents(SMALL, tmp_path / "pages")
    with pytest.raises(Mistake, match="no documents 'page'.*\n*.*pages"):
        write_documents(SMALL, tmp_path / "more", "page")


def test_a_new_word_means_one_colour_on_its_page_alone() -> None:
    made = list(lessons(replace(SMALL, count=40)))
    assert len(made) == 4
    meanings = []
    for pieces in made:
        scenes = [SMALL.scene(value) for kind, value in pieces if kind == "image"]
        pairs = {(scene.things[0].colour, value) for scene, (_, value) in zip(scenes, pieces[1::2])}
        assert len(pairs) == len({colour for colour, _ in pairs}) == len({word for _, word in pairs})
        meanings.append(pairs)
    assert len(set.union(*meanings)) == sum(map(len, meanings)), "another page, other words"
    assert len(set(new_words(100, Turn(0)))) == 100


def test_a_mixture_weighs_its_sets_in_every_step(tmp_path: Path) -> None:
    """One step has a batch of each set; the smaller set begins again; any step can be asked for directly."""
    for count, name in ((12, "a"), (5, "b")):
        write_folder(replace(SMALL, count=count), tmp_path / name)
    both = []
    for name in ("a", "b"):
        lesson = Dataset(tmp_path / name, None)
        both.append(lesson.loader(TOKENS, CONFIG, Transform(32), lesson.split(0.0)[0], False, 0))
    mixture, plan = Mixture((both[0], both[1]), (1.0, 0.2)), Plan(4, seed=1)
    assert mixture.steps(plan) == 3
    steps = list(mixture.read(plan, 0))
    assert len(steps) == 3 and all(len(parts) == 2 for parts in steps)
    assert [float(part.part_weight) for part in steps[0]] == [2.0, pytest.approx(0.4)]
    again = list(mixture.read(plan, 0, step=2))
    for one, other in zip(steps[2], again[0]):
        assert torch.equal(one.texts.ids, other.texts.ids) and torch.equal(one.images, other.images)
    alone = next(both[1].read(plan, 1))[0]  # its second epoch: 5 rows are one batch of 4
    assert torch.equal(steps[1][1].texts.ids, alone.texts.ids)
    assert mixture.identity() != Mixture((both[0], both[1]), (1.0, 0.3)).identity()
    with pytest.raises(ValueError, match="above 0"):
        Mixture((both[0],), (0.0,))
