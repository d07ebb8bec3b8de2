"""Filling: an index is what its set is, after additions, removals, kills; nothing of anybody's is lost."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import colours
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from eyes import eye

from pairloom import search
from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.model import Model, build
from pairloom.model.fingerprint import fingerprint
from pairloom.search import filling, vectors
from pairloom.search.filling import Filled, fill
from pairloom.search.index import Index
from pairloom.search.store import FILE, Store


def index(pairs: Path, model: Model, out: Path, **options) -> Filled:
    return fill(open_set(pairs), model, "eye", out, workers=1, **options)


def contents(out: Path) -> dict[str, tuple]:
    """Key -> names, texts and vector, whatever the rows are."""
    store = Store.open(out)
    fine = store.vectors().fine
    rows = store.spread(10**6).tolist()
    return {
        store.key_of(row): ([p.name for p in store.places(row)], store.texts(row), fine[row].tolist())
        for row in rows
    }


def same(one: Path, other: Path) -> None:
    """The same keys, names and texts, and vectors as near as sums over other batches come."""
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for key, (names, texts, vector) in first.items():
        assert (names, texts) == second[key][:2]
        assert vector == pytest.approx(second[key][2], abs=1e-6)


def test_vectors_are_those_of_the_model(pairs, model, tmp_path: Path) -> None:
    done = index(pairs, model, tmp_path / "index")
    assert (done.added, done.known, done.gone, done.unreadable, done.pictures) == (84, 0, 0, 0, 84)
    held = contents(tmp_path / "index")
    for pair in list(open_set(pairs).pairs())[::9]:
        names, texts, vector = held[pair.image_key]
        expected = model.system.embed_image(model.batch([pair.image.read()]))[0]
        assert names == [pair.name] and texts == [pair.texts[0].text]
        assert vector == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_second_run_adds_what_is_new_and_takes_out_what_is_gone(pairs, tmp_path: Path) -> None:
    model, mine = eye(), tmp_path / "pairs"
    shutil.copytree(pairs, mine)
    index(mine, model, tmp_path / "index")
    looked = model.system.looks
    for at in (3, 4, 5):
        os.unlink(mine / f"{at:03d}.png")
        os.unlink(mine / f"{at:03d}.txt")
    (mine / "006.txt").write_text("another text of a white thing")
    for at in (200, 201):
        (mine / f"{at}.png").write_bytes(colours.picture("purple", "plain", seed=at))
        (mine / f"{at}.txt").write_text("a plain purple wall")
    done = index(mine, model, tmp_path / "index")
    assert (done.added, done.gone, done.known, done.pictures) == (2, 3, 81, 83)
    assert model.system.looks == looked + 2
    index(mine, model, tmp_path / "fresh")
    same(tmp_path / "index", tmp_path / "fresh")
    store = Store.open(tmp_path / "index")
    assert store.rows == 86 and store.free().tolist() == [3, 4, 5]
    assert len(store.saying("another")) == 1 and store.saying("purple").tolist() == [84, 85]
    (mine / "300.png").write_bytes(colours.picture("red", "plain", seed=300))
    (mine / "300.txt").write_text("late")
    assert index(mine, model, tmp_path / "index").added == 1
    assert (store.rows, store.free().tolist()) == (86, [4, 5]), "a free row is used again"
    assert store.saying("late").tolist() == [3]


def test_what_is_deleted_stays_out(pairs, model, tmp_path: Path) -> None:
    out = tmp_path / "index"
    index(pairs, model, out)
    store = Store.open(out)
    key = store.key_of(5)
    with pytest.raises(Mistake, match="no picture 'nobody'"):
        store.delete(["007", "nobody"])
    assert len(store) == 84
    assert store.delete([key[:9], "007"]) == 2
    assert not {"005", "007"} & {one.name for one in Index(out, model).search("green", top=84).results}
    done = index(pairs, model, out)
    assert (done.added, done.pictures) == (0, 82)
    assert index(pairs, model, out, restart=True).pictures == 84


def test_one_picture_in_two_places_and_two_sets(pairs, model, tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "index"
    other.mkdir()
    for name, text in (("one", "first words"), ("two", "second words")):
        shutil.copy(pairs / "000.png", other / f"{name}.png")
        (other / f"{name}.txt").write_text(text)
    index(pairs, model, out)
    done = index(other, model, out)
    assert (done.added, done.gone, done.pictures) == (0, 0, 84)
    row = Store.open(out).saying("second words").tolist()
    assert row == Store.open(out).saying('"first words"').tolist() and len(row) == 1
    assert [place.name for place in Store.open(out).places(row[0])] == ["000", "one", "two"]
    shutil.rmtree(other)
    found = Index(out, model).search(text="first words").results[0]
    assert found.name == "000" and Path(found.file).is_file()


def test_pictures_without_texts_are_found_too(pairs, model, tmp_path: Path) -> None:
    mine = tmp_path / "photos"
    mine.mkdir()
    for at in range(84):
        shutil.copy(pairs / f"{at:03d}.png", mine)
    done = index(mine, model, tmp_path / "index")
    assert (done.pictures, done.unreadable) == (84, 0) and "only 0 texts" in done.line["why"]
    answer = Index(tmp_path / "index", model).search("red", top=12)
    found = [int(one.name) for one in answer.results]
    assert {list(colours.COLOURS)[at % 21 // 3] for at in found} == {"red"} and answer.good is None


def test_pictures_inside_tables_are_read_again_from_them(pairs, model, tmp_path: Path) -> None:
    cells = [(pairs / f"{at:03d}.png").read_bytes() for at in range(40)]
    texts = [(pairs / f"{at:03d}.txt").read_text() for at in range(40)]
    pq.write_table(pa.table({"image": cells, "text": texts}), tmp_path / "set.parquet")
    index(tmp_path / "set.parquet", model, tmp_path / "index")
    opened = Index(tmp_path / "index", model)
    found = opened.search(text="striped green").results[0]
    assert opened.bytes_of(found) in cells
    assert opened.search("green", rerank=2, top=2).results[0].match is not None


def test_broken_pictures_are_counted_and_named(pairs, model, tmp_path: Path) -> None:
    mine = tmp_path / "pairs"
    shutil.copytree(pairs, mine)
    (mine / "001.png").write_bytes((mine / "001.png").read_bytes()[:60])
    (mine / "002.png").write_bytes(b"")
    done = index(mine, model, tmp_path / "index")
    assert (done.pictures, done.unreadable) == (82, 2)
    assert sorted(name for name, _ in done.problems) == ["001", "002"] and all(
        why for _, why in done.problems
    )
    for name in os.listdir(mine):
        if name.endswith(".png"):
            (mine / name).write_bytes(b"none")
    with pytest.raises(Mistake, match="Nothing in .* can be searched"):
        index(mine, model, tmp_path / "other")


def test_a_failure_in_the_middle_leaves_the_last_commit(pairs, model, tmp_path: Path, monkeypatch) -> None:
    """A crash after the vectors of a group are on disk, before it is committed; then the same command again."""
    monkeypatch.setattr(filling, "GROUP", 20)
    out, calls, real = tmp_path / "index", [], vectors.write

    def write(*given) -> None:
        real(*given)
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(vectors, "write", write)
    with pytest.raises(KeyboardInterrupt):
        index(pairs, model, out)
    assert len(Store.open(out)) == 40
    answer = Index(out, model).search("red", top=3)
    assert not answer.whole and "not whole" in answer.why and len(answer.results) == 3
    done = index(pairs, model, out)
    assert (done.added, done.known, done.pictures) == (44, 40, 84)
    index(pairs, model, tmp_path / "fresh")
    same(out, tmp_path / "fresh")


KILLED = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from eyes import eye
from pairloom.data.shards import open_set
from pairloom.search import filling, vectors
filling.GROUP = 4
fill, write = filling.fill, vectors.write
def tell(*given):
    write(*given)
    print("written", flush=True)
vectors.write = tell
fill(open_set(Path({pairs!r})), eye(), "eye", Path({out!r}), workers=1)
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_committed(pairs, model, tmp_path: Path) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "clean")]
    script = KILLED.format(paths=paths, pairs=str(pairs), out=str(tmp_path / "index"))
    for number in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(number + 2):
            process.stdout.readline()
        time.sleep(0.004 * number)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        process.stdout.close()
        assert len(Store.open(tmp_path / "index")) >= 4
    index(pairs, model, tmp_path / "index")
    index(pairs, model, tmp_path / "fresh")
    same(tmp_path / "index", tmp_path / "fresh")


def test_two_at_once_lose_nothing(pairs, model, tmp_path: Path, monkeypatch) -> None:
    """The second overtakes the first within a group: what the first then sees again is not taken for gone."""
    out, add, late = tmp_path / "index", Store.add, []

    def overtaken(self: Store, *given):
        if not late:
            late.append(True)
            late.append(index(pairs, model, out))
        return add(self, *given)

    begun, end = [], Store.end
    monkeypatch.setattr(Store, "add", overtaken)
    monkeypatch.setattr(Store, "end", lambda self, where: begun.append(where) or end(self, where))
    done = index(pairs, model, out)
    assert (late[1].added, late[1].pictures) == (84, 84) and (done.added, done.known) == (0, 84)
    store = Store.open(out)
    assert end(store, begun[0]) == 0 and len(store) == 84
    store.close()


def test_another_model_is_refused(pairs, model, tmp_path: Path) -> None:
    index(pairs, model, tmp_path / "index")
    before = contents(tmp_path / "index")
    other = eye(gain=2.0)
    with pytest.raises(Mistake, match="another model"):
        index(pairs, other, tmp_path / "index")
    with pytest.raises(Mistake, match="another model"):
        search.open(tmp_path / "index", other).search("red")
    assert contents(tmp_path / "index") == before
    blind = build("blip", model.tokens, "tiny", ["itc=0"])
    with pytest.raises(Mistake, match="cannot embed"):
        index(pairs, blind, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_folders_and_files_of_others_are_left_alone(pairs, model, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(Mistake, match="is not an index"):
        index(pairs, model, mine)
    (mine / FILE).write_bytes(b"SQLite? no, my own notes" * 10)
    for restart in (False, True):
        with pytest.raises(Mistake):
            index(pairs, model, mine, restart=restart)
    assert (mine / FILE).read_bytes().startswith(b"SQLite? no")
    assert sorted(os.listdir(mine)) == [FILE, "letter.txt"]
    with pytest.raises(Mistake, match="cannot be the output"):
        index(pairs, model, pairs / "index")
    with pytest.raises(Mistake, match="cannot be written"):
        index(pairs, model, mine / "letter.txt")


def test_a_broken_index_says_so_and_restart_mends_it(pairs, model, tmp_path: Path) -> None:
    out = tmp_path / "index"
    index(pairs, model, out)
    whole = (out / FILE).read_bytes()
    for data in (whole[:5000], b"\0" * len(whole), whole[:100] + os.urandom(8192) + whole[8292:]):
        (out / FILE).write_bytes(data)
        with pytest.raises(Mistake):
            Index(out, model).search("red")
        with pytest.raises(Mistake):
            index(pairs, model, out)
    assert index(pairs, model, out, restart=True).pictures == 84
    (out / vectors.FINE).write_bytes(b"short")
    with pytest.raises(Mistake, match="not whole"):
        search.open(out, model)
    (out / vectors.COARSE).unlink()
    with pytest.raises(Mistake, match="not whole"):  # new rows behind the hole would make it look whole
        index(pairs, model, out)
    assert not (out / vectors.COARSE).exists()
    with pytest.raises(Mistake, match="no index"):
        search.open(tmp_path / "nowhere")


def test_the_fingerprint_sees_weights_tokens_and_pixels(model) -> None:
    assert fingerprint(model) == fingerprint(eye())
    other = eye()
    with torch.no_grad():
        other.system.gain += 1e-3
    assert fingerprint(other) != fingerprint(model)
    assert fingerprint(Model("eye", model.system, model.tokens, other.pixels.__class__(48))) != (
        fingerprint(model)
    )


def test_pairs_stream(pairs, model, tmp_path: Path) -> None:
    """tell counts every pair once, bad ones too."""
    told = io.StringIO()
    fill(
        open_set(pairs),
        model,
        "eye",
        tmp_path / "i",
        workers=1,
        tell=lambda done, bad: print(done, bad, file=told),
    )
    assert [sum(int(line.split()[at]) for line in told.getvalue().splitlines()) for at in (0, 1)] == [84, 0]
