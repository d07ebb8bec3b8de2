"""What the reader of a report decides is what the clean set becomes, and nothing else changes."""

import csv
import json
from pathlib import Path

import colours
import oracle
import pyarrow.parquet as pq
import pytest

from pairloom.clean.applying import apply, read_decisions
from pairloom.clean.rounds import silent
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake

INSTEAD = {"drop": "keep", "replace": "keep", "keep": "drop", "add": "reject", "reject": "add"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with raw/ (two tars) and out/ (a finished run)."""
    root = tmp_path_factory.mktemp("apply")
    save_set(open_set(colours.write(root / "folder", 60)).pairs(), root / "raw", "webdataset", size=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        oracle.run("raw", "out")
    return root


@pytest.fixture(autouse=True)
def there(run, monkeypatch) -> None:
    monkeypatch.chdir(run)


def ledger(out: str) -> list[dict]:
    return pq.read_table(f"{out}/pairs.parquet").to_pylist()


def asked(row: dict, wanted: str | None = None) -> dict:
    names = ("key", "text_id", "name", "shard", "decision")
    now = wanted or INSTEAD[row["decision"]]
    return {**{name: row[name] for name in names}, "verdict": "overrule", "wanted": now}


def export(path: Path, decisions: list[dict]) -> Path:
    path.write_text(json.dumps({"pairloom": "0.1.0", "report": "r", "set": "raw", "decisions": decisions}))
    return path


def texts(out: str) -> dict[str, list[str]]:
    return {pair.name: [text.text for text in pair.texts] for pair in open_set(f"{out}/pairs").pairs()}


def test_overruled_texts_change_sides_and_all_else_stays(run) -> None:
    before = ledger("out")
    kept = next(row for row in before if row["decision"] == "keep")
    replaced = next(row for row in before if row["decision"] == "replace")
    added = next(row for row in before if row["decision"] == "add" and row["name"] == replaced["name"])
    file = export(run / "some.json", [asked(kept), asked(replaced), asked(added)])
    facts = apply(Path("out"), file, Path("some"), silent)
    assert facts["applied"] == {"decisions": 3, "overruled": 3}
    was, now = texts("out"), texts("some")
    assert now.pop(replaced["name"]) == [replaced["text"]] and was.pop(replaced["name"]) == [added["text"]]
    assert kept["name"] in was and kept["name"] not in now, "its only text was dropped, so the pair is gone"
    del was[kept["name"]]
    assert was == now
    changed = {
        (a["name"], a["text_id"]): (a["decision"], b["decision"])
        for a, b in zip(before, ledger("some"), strict=True)
        if a != b
    }
    assert changed == {
        (kept["name"], kept["text_id"]): ("keep", "drop"),
        (replaced["name"], replaced["text_id"]): ("replace", "keep"),
        (added["name"], added["text_id"]): ("add", "reject"),
    }
    said = [row["reason"] for row in ledger("some") if row["reason"].startswith("You overruled")]
    assert len(said) == 3 and f"You overruled: keep became drop. {kept['reason']}" in said


def test_agreeing_changes_no_text_and_a_second_call_does_nothing_again(run) -> None:
    rows = [row for row in ledger("out") if row["decision"] in ("drop", "add")][:5]
    file = export(run / "agreed.json", [{**asked(row, row["decision"]), "verdict": "agree"} for row in rows])
    assert apply(Path("out"), file, Path("agreed"), silent)["applied"]["overruled"] == 0
    assert texts("agreed") == texts("out")
    before = (run / "agreed/run.json").stat().st_mtime_ns
    apply(Path("out"), file, Path("agreed"), silent)
    assert (run / "agreed/run.json").stat().st_mtime_ns == before


def test_a_rejected_addition_leaves_a_drop_behind(run) -> None:
    """Where the only new caption is turned down, the text it stood for was dropped, not replaced."""
    added = next(row for row in ledger("out") if row["decision"] == "add")
    apply(Path("out"), export(run / "none.json", [asked(added)]), Path("none"), silent)
    mine = [row for row in ledger("none") if row["name"] == added["name"]]
    assert {row["decision"] for row in mine} == {"drop", "reject"}
    assert added["name"] not in texts("none")


def test_csv_says_the_same_as_json(run) -> None:
    rows = [asked(row) for row in ledger("out")[:7]]
    with open("seven.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert read_decisions(Path("seven.csv")) == read_decisions(export(run / "seven.json", rows))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": "0" * 32}, "do not belong"),
        ({"decision": "drop", "wanted": "keep"}, "do not belong"),
        ({"wanted": "add"}, "cannot become"),
        ({"text_id": "x"}, "does not hold decisions"),
    ],
)
def test_decisions_about_something_else_are_refused(run, change, says) -> None:
    row = next(row for row in ledger("out") if row["decision"] == "keep")
    with pytest.raises(Mistake, match=says):
        apply(Path("out"), export(run / "wrong.json", [{**asked(row), **change}]), Path("wrong"), silent)
    assert not (run / "wrong").exists()


def test_files_that_hold_no_decisions_are_named(run) -> None:
    (run / "broken.json").write_text('{"decisions": [')
    for name, says in (("broken.json", "does not hold"), ("absent.json", "There is no file")):
        with pytest.raises(Mistake, match=says):
            apply(Path("out"), Path(name), Path("never"), silent)
    with pytest.raises(Mistake, match="holds no decision"):
        apply(Path("out"), export(run / "empty.json", []), Path("never"), silent)
    with pytest.raises(Mistake, match="finished run|no ledger"):
        apply(Path("raw"), run / "empty.json", Path("never"), silent)
