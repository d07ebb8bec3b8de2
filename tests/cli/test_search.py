"""index, search: what the commands print, write, and end with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "search"))
from eyes import NAMES, eye  # noqa: E402


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch) -> Path:
    import colours

    import pairloom.search.index  # noqa: F401  (before load is replaced, so that it holds the real one afterwards)

    for place in ("pairloom.weights.load", "pairloom.search.index.load"):
        monkeypatch.setattr(place, lambda where, download=False: eye())
    where = tmp_path / "pairs"
    where.mkdir()
    for at in range(70):
        kind = NAMES[at % 7], colours.PATTERNS[at % 3]
        (where / f"{at:03d}.png").write_bytes(colours.picture(*kind, seed=at))
        (where / f"{at:03d}.txt").write_text(colours.said(*kind))
    return where


def test_index_then_search(call, pairs: Path, tmp_path: Path) -> None:
    out, sheet = tmp_path / "index", tmp_path / "sheet.html"
    code, said, _ = call("index", pairs, "--model", "eye", "--out", out)
    assert code == 0 and "70 pictures in" in said and "70 new, 0 gone" in said and "AUROC" in said
    code, said, err = call("search", out, "red", "-", "blue", "--top", 3, "--html", sheet)
    lines = [line.split("\t") for line in said.splitlines()]
    assert code == 0 and lines[0] == ["#", "cosine", "name", "text", "file"]
    assert [line[3].split()[2] for line in lines[1:]] == ["red"] * 3 and "3 answers among 70 pictures" in err
    assert sheet.read_text().count("data:image/jpeg") == 3
    code, said, err = call("search", out, "a purple wall", "--json")
    told = json.loads(said)
    assert (
        code == 1 and told["good"] is False and all(one["p"] < 0.5 for one in told["results"]) and err == ""
    )
    code, said, _ = call("search", out, "--text", "dotted green", "--json")
    assert code == 0 and {one["texts"][0] for one in json.loads(said)["results"]} == {"a dotted green wall"}
    assert call("search", out, "--text", "nowhere")[0] == 1
    code, said, _ = call("search", out, "green", "--rerank", 4)
    assert code == 0 and said.startswith("#\tP(match)\tmatch\tcosine")


def test_index_again_deletes_and_tells_json(call, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    assert call("index", pairs, "--out", out)[0] == 2
    assert not out.exists()
    call("index", pairs, "--model", "eye", "--out", out)
    code, said, _ = call("index", "--out", out, "--delete", "003", "--delete", "004")
    assert code == 0 and "2 pictures deleted; 68 are left" in said
    code, said, err = call("index", pairs, "--out", out, "--json")
    told = json.loads(said)
    assert code == 0 and err == "" and (told["added"], told["known"], told["pictures"]) == (0, 68, 68)
    code, _, err = call("index", pairs, "--out", out)
    assert code == 0 and "68 pictures already in" in err


def test_an_index_that_a_kill_left_before_its_first_row_is_begun_again(
    call, pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    out.mkdir()
    (out / "index.sqlite").touch()
    assert call("search", out, "red")[0] == 2
    code, said, _ = call("index", pairs, "--model", "eye", "--out", out)
    assert code == 0 and "70 new" in said


def test_mistakes_end_with_2(call, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    call("index", pairs, "--model", "eye", "--out", out)
    for asked, reason in [
        (("search", tmp_path / "none", "red"), "no index at"),
        (("search", out), "nothing to search"),
        (("search", out, "red", "--top", 0), "count answers"),
        (("search", out, tmp_path / "no.jpg"), "no picture at"),
        (("search", out, "red", "--html", pairs / "000.txt"), "exists already"),
        (("index", "--out", out), "nothing to index"),
        (("index", "--out", out, "--delete", "nobody"), "no picture 'nobody'"),
        (("index", tmp_path / "gone", "--model", "eye", "--out", out), "nothing at"),
    ]:
        code, _, err = call(*asked)
        assert code == 2 and reason in err, asked
    assert (pairs / "000.txt").read_text() == "a plain red wall"
