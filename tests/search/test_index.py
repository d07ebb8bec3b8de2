"""Index: what is found, in which order, and what is said where nothing fits. The model sees colours alone."""

from __future__ import annotations

from pathlib import Path

import colours
import numpy
import pytest
from eyes import colour_of, eye

from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.search import cells
from pairloom.search.filling import fill
from pairloom.search.index import Index
from pairloom.search.line import LEAST, Line, _fit
from pairloom.search.sheet import render, sentence, write_sheet


@pytest.fixture(scope="module")
def where(pairs, model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("index") / "index"
    fill(open_set(pairs), model, "eye", out, workers=1)
    return out


@pytest.fixture(scope="module")
def index(where, model) -> Index:
    return Index(where, model)


def seen(index: Index, asked: str, top: int = 12, **options) -> list[str]:
    return [colour_of(one) for one in index.search(asked, top, **options).results]


def test_words_find_their_pictures(index) -> None:
    for colour in colours.COLOURS:
        if colour != "purple":
            assert set(seen(index, f"a {colour} wall")) == {colour}
    assert len(index.search("red", top=10**6).results) == 84


def test_adding_taking_away_and_weighing(index) -> None:
    assert set(seen(index, "red + blue", 24)) == {"red", "blue"}
    assert set(seen(index, "3:red + blue", 12)) == {"red"}
    assert set(seen(index, "red - blue", 12)) == {"red"}
    assert "red" not in seen(index, "- red", 60)
    with pytest.raises(Mistake, match="cancel out"):
        index.search("red - red")


def test_a_picture_finds_its_like(index, pairs, tmp_path: Path) -> None:
    found = index.search(str(pairs / "000.png"), top=12).results
    assert found[0].score == 1 and {colour_of(one) for one in found} == {"red"}
    new = tmp_path / "new.png"
    new.write_bytes(colours.picture("yellow", "plain", seed=999))
    assert set(seen(index, str(new))) == {"yellow"}
    assert set(seen(index, f"{new} + blue", 24)) == {"yellow", "blue"}
    (tmp_path / "no.png").write_bytes(b"text")
    with pytest.raises(Mistake, match="no.png cannot be read"):
        index.search(str(tmp_path / "no.png"))


def test_a_picture_of_the_index_needs_no_model(where, pairs) -> None:
    with pytest.raises(Mistake, match="not at eye any more"):
        Index(where).search("red")
    assert Index(where).search(str(pairs / "010.png")).results[0].name == "010"
    assert len(Index(where).search(text="dotted").results) == 10


def test_exact_words(index) -> None:
    assert {one.texts[0] for one in index.search(text="RED dotted", top=84).results} == {"a dotted red wall"}
    assert index.search(text='"red dotted"').results == () and index.search(text='"red dotted"').good is False
    assert len(index.search(text='wall "dotted red"', top=84).results) == 4
    both = index.search("blue", text="dotted", top=84).results
    assert len(both) == 28 and {colour_of(one) for one in both[:4]} == {"blue"}
    assert all("dotted" in one.texts[0] for one in both)
    for odd in ("red OR", "NEAR(", "a*", "col:red", "'"):
        index.search(text=odd)
    with pytest.raises(Mistake, match="no words"):
        index.search(text='  ""')


def test_ties_come_by_name_whatever_the_order_of_indexing(index, pairs, tmp_path: Path, model) -> None:
    names = [one.name for one in index.search("red", top=84).results]
    scores = [one.score for one in index.search("red", top=84).results]
    assert names == [name for _, name in sorted(zip([-score for score in scores], names))]
    again = tmp_path / "again"
    fill(open_set(pairs), model, "eye", again, workers=3)
    opened = Index(again, model)
    opened.store.delete(["000", "020"])
    assert [one.name for one in Index(again, model).search("red", top=84).results] == [
        name for name in names if name not in ("000", "020")
    ]


def test_what_another_process_takes_out_meanwhile_is_left_out(pairs, model, tmp_path: Path) -> None:
    fill(open_set(pairs), model, "eye", tmp_path / "index", workers=1)
    opened = Index(tmp_path / "index", model)
    before = [one.name for one in opened.search("red", top=5).results]
    Index(tmp_path / "index", model).store.delete(before[:2])
    assert not {one.name for one in opened.search("red", top=84).results} & set(before[:2])


def test_what_is_not_there_is_no_good_match(index) -> None:
    for colour in colours.COLOURS:
        answer = index.search(f"a plain {colour} wall", top=3)
        assert answer.good is (colour != "purple"), colour
        assert all((one.p >= 0.5) is (colour != "purple") for one in answer.results)
    assert index.search("red - blue").good is None
    assert not index.line.why and index.line.area > 0.99


def test_the_line_is_silent_where_it_cannot_tell() -> None:
    assert "only 3 texts" in _fit(numpy.zeros((3, 4))).why
    low = numpy.arange(2 * LEAST) / 50
    silent = _fit(_told(low, low))
    assert "hardly tells" in silent.why and silent(5.0, 0.0, 1.0) is None
    told = _fit(_told(low + 3, low))
    assert told.by == "cosine" and told(4.5, 0.0, 1.0) > 0.95 and told(0.5, 0.0, 1.0) < 0.05
    moved = numpy.arange(2 * LEAST) % 7 * 5.0  # queries whose cosines are all high or all low
    told = _fit(_told(low + 3 + moved, low + moved, moved))
    assert told.by == "standing" and told(24.5, 20.0, 1.0) > 0.95 and told(24.5, 24.0, 1.0) < 0.05
    assert Line("", "standing", 0.0, 2.0, 3.0)(7.0, 1.0, 2.0) == 0.5


def _told(own, wrong, mean=0.0) -> numpy.ndarray:
    return numpy.stack([own, wrong, mean + 0 * own, 1 + 0 * own], 1)


def test_the_match_head_orders_the_best(index) -> None:
    answer = index.search("yellow", top=5, rerank=20)
    cosine = {one.key: one.score for one in index.search("yellow", top=20).results}
    for one in answer.results:
        assert one.match == pytest.approx(10 * cosine[one.key] - 5, abs=1e-3)
    both = index.search("yellow - 2:red", top=4, rerank=6).results
    query = [
        10 * float(index.vectors.fine[one.row] @ index.query(_terms(word))) - 5
        for one in both
        for word in ("yellow", "red")
    ]
    assert [one.match for one in both] == pytest.approx(
        [yellow - 2 * red for yellow, red in zip(query[::2], query[1::2])], abs=1e-3
    )
    with pytest.raises(Mistake, match="Only words"):
        index.search(index.search("red").results[0].file, rerank=3)
    with pytest.raises(Mistake, match="count answers"):
        index.search("red", top=0)


def _terms(word: str):
    from pairloom.search.asking import parse

    return parse(word)


def test_pictures_that_went_away_are_still_found_and_come_last_when_re_ranked(
    pairs, model, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for at in range(0, 84, 2):
        for kind in ("png", "txt"):
            (mine / f"{at:03d}.{kind}").write_bytes((pairs / f"{at:03d}.{kind}").read_bytes())
    fill(open_set(mine), model, "eye", tmp_path / "index", workers=1)
    opened = Index(tmp_path / "index", model)
    first = opened.search("red", top=4).results
    (mine / f"{first[0].name}.png").unlink()
    (mine / f"{first[1].name}.png").write_bytes((pairs / "001.png").read_bytes())
    assert opened.bytes_of(first[0]) is None and opened.bytes_of(first[1]) is None
    again = opened.search("red", top=4, rerank=4).results
    assert [one.match is None for one in again] == [False, False, True, True]
    page = render(opened.search("red", top=4), opened.bytes_of)
    assert page.count("is not there any more") == 2 and page.count("data:image/jpeg") == 2


def test_inverted_lists_answer_as_the_scan_does(pairs, tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="the search extra is not installed")
    model = eye()
    done = fill(open_set(pairs), model, "eye", tmp_path / "index", workers=1, many=True)
    assert done.cells["recall"] >= 0.98
    index = Index(tmp_path / "index", model)
    assert isinstance(index.finder.__self__, cells.Cells)
    scan = Index(tmp_path / "index", model)
    scan.finder = scan.vectors.top
    for asked in ("red", "blue + green", "a purple wall"):
        assert index.search(asked).results == scan.search(asked).results
    again = fill(open_set(pairs), model, "eye", tmp_path / "index", workers=1)
    assert again.cells == done.cells, "what was asked for once is kept"
    (tmp_path / "index" / cells.FILE).write_bytes(b"cut")
    with pytest.raises(Mistake, match="cannot be read"):
        Index(tmp_path / "index", model).search("red")
    assert fill(open_set(pairs), model, "eye", tmp_path / "index", workers=1, many=False).cells == {}
    assert Index(tmp_path / "index", model).search("red").results == scan.search("red").results
    assert not (tmp_path / "index" / cells.FILE).exists()


def test_lists_without_faiss_are_a_mistake_that_names_the_extra(where, model, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(Mistake, match=r"pairloom\[search\]"):
        cells.make(Index(where, model).vectors, where / "never")
    assert not (where / "never").exists()


def test_the_sheet_holds_everything_and_escapes_what_it_is_told(index, tmp_path: Path) -> None:
    answer = index.search("a red wall", top=5)
    page = render(answer, index.bytes_of)
    assert page.count("data:image/jpeg;base64,") == 5 and "http" not in page.replace("http-equiv", "")
    assert page == render(answer, index.bytes_of)
    odd = render(index.search(text='"<script>alert(1)</script>"'), index.bytes_of)
    assert "<script" not in odd and "&lt;script&gt;" in odd and "Nothing found among 84 pictures" in odd
    out = tmp_path / "sheet.html"
    write_sheet(out, answer, index.bytes_of)
    write_sheet(out, index.search("a purple wall"), index.bytes_of)
    assert "No good match among 84 pictures" in out.read_text()
    out.write_text("my own page")
    with pytest.raises(Mistake, match="exists already"):
        write_sheet(out, answer, index.bytes_of)
    assert out.read_text() == "my own page"
    assert sentence(answer) == "5 good matches among 84 pictures"
