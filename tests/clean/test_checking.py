"""check with an output folder and from Python: every finding in a table, the same as in clean's ledger; resuming; refusals."""

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import colours
import oracle
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom.api.checking import CheckResult
from pairloom.clean import checking, issues, ledger, plan
from pairloom.clean.faults import FAULTS
from pairloom.clean.issues import shown_shares
from pairloom.clean.plan import CleanSettings
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake
from pairloom.scale import Execution

PAIRS = 60


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tars of 60 pairs with file names among their texts, a copy, a turned copy, a broken and a textless picture."""
    root = tmp_path_factory.mktemp("check")
    folder = colours.write(root / "folder", PAIRS, bad=0.3)
    (folder / "broken.png").write_bytes((folder / "00003.png").read_bytes()[:200])
    (folder / "broken.txt").write_text("a wall\n")
    shutil.copy(folder / "00004.png", folder / "copy.png")
    (folder / "copy.txt").write_text("IMG_0001.JPG\na wall that stands elsewhere\n")
    Image.new("RGB", (200, 8), "red").save(folder / "thin.png")
    (folder / "thin.txt").write_text("a thin line\n")
    shutil.copy(folder / "00005.png", folder / "textless.png")
    save_set(open_set(folder).pairs(), root / "raw", "webdataset", size=25)
    return root / "raw"


@pytest.fixture(scope="module")
def checked(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    return pairloom.open(raw).check(out=tmp_path_factory.mktemp("checked") / "out", workers=1)


def test_every_finding_has_a_row_and_every_pair_too(checked: CheckResult) -> None:
    issues, pairs = checked.table("issues").to_pylist(), checked.table("pairs").to_pylist()
    assert len(pairs) == checked.pairs == PAIRS + 4
    counts: dict[str, int] = defaultdict(int)
    for row in issues:
        counts[row["code"]] += 1
        assert (row["severity"], row["says"]) == (FAULTS[row["code"]].severity, FAULTS[row["code"]].says)
    assert counts == {code: entry["count"] for code, entry in checked.audit().items()}
    assert max(counts.values()) > 5  # more than a few examples
    by_name = {row["name"].rpartition("/")[2]: row for row in pairs}
    assert by_name["copy"]["group"] == by_name["00004"]["group"] is not None
    assert [by_name[name]["keep"] for name in ("00004", "copy")].count(True) == 1
    assert (
        all((row["keep"] is None) == (row["group"] is None) for row in pairs)
        and by_name["00001"]["width"] == 32
    )
    broken = next(row for row in issues if row["code"] == "unreadable")
    assert broken["text_id"] is None and "cut off" in broken["about"]
    assert next(row for row in issues if row["code"] == "tiny")["about"] == "200 x 8 pixels"
    [of_second] = [row for row in issues if row["name"].endswith("copy") and row["code"] == "file_name"]
    assert (of_second["text_id"], of_second["text"]) == (0, "IMG_0001.JPG")


def test_one_bad_text_of_two_is_one_bad_text(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(colours.picture("red", "dotted", 1))
    (tmp_path / "a.txt").write_text("IMG_0001.JPG\na red wall with dots\n")
    result = pairloom.open(tmp_path).check(workers=1)
    assert (result.bad(), result.bad_share) == (1, 0.5)


def test_the_codes_are_those_of_the_ledger_of_clean(raw: Path, checked: CheckResult, tmp_path: Path) -> None:
    oracle.run(raw, tmp_path / "cleaned", CleanSettings(size=32, captions=False))
    rows = ledger.Ledger(tmp_path / "cleaned" / "pairs.parquet").table().to_pylist()
    of_clean: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        of_clean[row["name"]] |= set(row["findings"]) - {"wrong_word", "cut_off"}  # these the judge tells
    of_check: dict[str, set[str]] = defaultdict(set)
    for row in checked.table("issues").to_pylist():
        of_check[row["name"]] |= {row["code"]} - {"cut_off"}
    assert {name: codes for name, codes in of_clean.items() if codes} == of_check


def test_a_check_without_a_folder_has_the_same_tables(raw: Path, checked: CheckResult) -> None:
    aside = pairloom.open(raw).check(workers=2)
    for name in ("issues", "pairs", "groups"):
        assert aside.table(name).equals(checked.table(name))
    place = aside.out
    assert "Tables" in repr(aside) and "<table>" in aside._repr_html_()
    with pytest.raises(Mistake, match="no page"):
        aside.report  # noqa: B018
    del aside
    assert not place.exists()


def test_data_frames_or_a_mistake_that_names_pandas(
    checked: CheckResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        import pandas  # noqa: F401
    except ImportError:
        with pytest.raises(Mistake, match="pandas is not installed"):
            checked.issues  # noqa: B018
        return
    assert list(checked.issues["code"]) == checked.table("issues").column("code").to_pylist()
    assert str(checked.issues["text_id"].dtype) == "Int32"  # null for what is about the picture
    assert set(checked.groups["group"]) == {0, 1}
    fresh = CheckResult.load(checked.out)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Mistake, match="pandas is not installed"):
        fresh.groups  # noqa: B018


def test_the_same_bytes_with_any_workers_and_after_a_stop(
    raw: Path, checked: CheckResult, tmp_path: Path
) -> None:
    pairs, out = pairloom.open(raw), tmp_path / "out"

    def stop(done: int, bad: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pairs.check(out=out, workers=1, tell=stop)
    parts = list((out / ".pairloom" / "audit").glob("*.parquet"))
    assert len(parts) == 1 and not (out / "run.json").exists()
    stamp = parts[0].stat().st_mtime_ns
    pairs.check(
        out=out,
        workers=2,
        tell=lambda done, bad: None if parts[0].stat().st_mtime_ns == stamp else pytest.fail(),
    )
    files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    assert files == [
        path.relative_to(checked.out) for path in sorted(checked.out.rglob("*")) if path.is_file()
    ]
    assert {str(file.parts[0]) for file in files} == {
        "issues.parquet", "pairs.parquet", "report.html", "run.json", "thumbnails"
    }  # fmt: skip
    for file in files:
        assert (out / file).read_bytes() == (checked.out / file).read_bytes(), file


def test_a_finished_check_is_not_done_again(raw: Path, checked: CheckResult) -> None:
    stamp = (checked.out / "issues.parquet").stat().st_mtime_ns
    again = pairloom.open(raw).check(out=checked.out, tell=lambda done, bad: pytest.fail("audited again"))
    assert again.facts == checked.facts and (checked.out / "issues.parquet").stat().st_mtime_ns == stamp


def test_nothing_of_others_is_overwritten(raw: Path, checked: CheckResult, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    pairs = pairloom.open(raw)
    with pytest.raises(Mistake, match="not empty"):
        pairs.check(out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(Mistake, match="cannot be the output"):
        pairs.check(out=raw / "check")
    with pytest.raises(Mistake, match="other settings or another set"):
        pairs.check(against=raw, out=checked.out)
    with pytest.raises(Mistake, match="other settings or another set"):
        pairs.clean(checked.out, captions=False)
    with pytest.raises(Mistake, match="no finished run of check"):
        CheckResult.load(tmp_path / "mine")
    with pytest.raises(Mistake, match="table of a check"):
        ledger.find(checked.out, "copy")


def test_another_check_replaces_an_old_one_only_where_it_is_named(raw: Path, tmp_path: Path) -> None:
    pairs, out = pairloom.open(raw), tmp_path / "out"
    first = pairs.check(out=out, workers=1)
    second = pairs.check(against=raw, out=out, workers=1, restart=True)
    assert "leak" in second.audit() and "leak" not in first.audit()
    assert json.loads((out / "run.json").read_text())["command"] == {"against": str(raw)}
    assert "leak" in pq.read_table(out / "issues.parquet").column("code").to_pylist()


def test_other_code_does_not_go_on_with_a_run_that_was_stopped(
    raw: Path, tmp_path: Path, monkeypatch
) -> None:
    """A part of an older working copy may lack a column."""
    monkeypatch.setattr(checking.audit_set, "across", None)
    with pytest.raises(TypeError):
        pairloom.open(raw).check(out=tmp_path / "out", workers=1)
    monkeypatch.undo()
    part = next((tmp_path / "out" / ".pairloom" / "audit").glob("*.parquet"))
    pq.write_table(pq.read_table(part).drop_columns(["sharpness"]), part)
    monkeypatch.setattr(plan, "_code", lambda: "of today")
    with pytest.raises(Mistake, match="version or code of pairloom changed"):
        pairloom.open(raw).check(out=tmp_path / "out", workers=1)
    assert pairloom.open(raw).check(out=tmp_path / "out", workers=1, restart=True).pairs == PAIRS + 4


def test_the_page_has_a_bound_and_the_tables_have_all(
    raw: Path, checked: CheckResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issues, "MOST_SHOWN", 5)
    (tmp_path / "work").mkdir()
    facts = checking.write_tables(open_set(raw), tmp_path, Execution(workers=1), work=tmp_path / "work")
    shown = [
        row for part in (tmp_path / "work" / "shown").iterdir() for row in pq.read_table(part).to_pylist()
    ]
    for code, entry in facts["audit"].items():
        examples = len({(row["shard"], row["row"]) for row in shown if code in row["findings"]})
        assert (examples == entry["count"]) if entry["count"] <= 5 else (0 < examples < entry["count"])
    groups = [row["group"] for row in shown if row["group"] is not None]
    assert len(set(groups)) == facts["check"]["groups"] and min(map(groups.count, groups)) > 1
    for name in ("issues", "pairs"):
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(checked.table(name))
    assert shown_shares({"spam": 20, "empty": 3}, 0) == {"spam": 0.25, "empty": 1.0}


def test_the_document_names_the_picture_to_keep_of_each_group(checked: CheckResult) -> None:
    copies = checked.to_json()["copies"]
    rows = checked.table("groups").to_pylist()
    assert [group["keep"] for group in copies] == [row["name"] for row in rows if row["keep"]]
    others = [(copy["name"], copy["copy"]) for group in copies for copy in group["copies"]]
    assert others == [(row["name"], row["copy"]) for row in rows if not row["keep"]] and others
