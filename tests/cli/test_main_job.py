"""The commands of the main job: what they print, where, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import colours
import oracle
import pytest


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """raw/: 60 pairs; good/: 12 pairs without a fault; model/: an untrained model."""
    root = tmp_path_factory.mktemp("job")
    colours.write(root / "raw", 60)
    colours.write(root / "good", 12, bad=0)
    colours.model(root / "model")
    return root


@pytest.fixture(scope="module")
def cleaned(root) -> Path:
    """A finished run with captions."""
    oracle.run(root / "raw", root / "cleaned")
    return root / "cleaned"


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_check_ends_with_1_where_something_is_bad_and_with_0_where_nothing_is(call, root) -> None:
    before = listing(root / "raw")
    code, out, _ = call("check", root / "raw", "--workers", 1)
    assert code == 1 and "file_name\tbad\t" in out and "60 pairs" in out
    assert call("check", root / "raw", "--workers", 1, "--tolerate", 0.5)[0] == 0
    assert call("check", root / "good", "--workers", 1)[0] == 0
    assert listing(root / "raw") == before


def test_check_json_is_one_document_and_nothing_else(call, root) -> None:
    code, out, err = call("check", root / "raw", "--workers", 1, "--json")
    told = json.loads(out)
    assert code == 1 and err == ""
    assert told["set"]["pairs"] == 60 and told["bad"] == told["audit"]["file_name"]["count"]


def test_check_writes_tables_and_a_page_and_names_them(call, root) -> None:
    out = root / "checked"
    code, text, _ = call("check", root / "raw", "--out", out, "--workers", 1)
    assert code == 1 and str(out / "report.html") in text
    assert listing(out) == ["issues.parquet", "pairs.parquet", "report.html", "run.json"]
    code, text, _ = call("check", root / "raw", "--out", out, "--workers", 1, "--json", "--tolerate", 0.9)
    told = json.loads(text)
    assert code == 0 and told["files"]["issues"] == str(out / "issues.parquet")
    assert told["bad_share"] == told["bad"] / 60
    code, _, error = call("check", root / "raw", "--out", root / "good", "--workers", 1)
    assert code == 2 and "not empty" in error


def test_a_set_of_file_names_stops_clean_with_2_and_an_example(call, tmp_path) -> None:
    folder = colours.write(tmp_path / "raw", 30, bad=0)
    for number, file in enumerate(sorted(folder.glob("*.txt"))):
        file.write_text(f"IMG_{number:04d}.jpg")
    code, out, err = call("clean", folder, "--out", tmp_path / "out", "--no-captions", "--workers", 1)
    assert code == 2 and "`file_name` would drop 30 of the 30 texts" in err and "IMG_0000.jpg" in err
    assert call("check", folder, "--workers", 1)[0] == 1


def test_check_proposes_and_clean_repairs_when_told_to(call, tmp_path) -> None:
    folder = colours.write(tmp_path / "raw", 12, bad=0)
    (folder / "00003.txt").write_text("<b>a red</b> wall &amp; a door")
    code, out, _ = call("check", folder, "--workers", 1)
    assert code == 0 and "'<b>a red</b> wall &amp; a door' -> 'a red wall & a door'" in out
    for options, text in (((), "<b>a red</b> wall &amp; a door"), (("--repair",), "a red wall & a door")):
        made = tmp_path / f"out{len(options)}"
        assert call("clean", folder, "--out", made, "--no-captions", "--workers", 1, *options)[0] == 0
        assert (made / "pairs" / "00003.txt").read_text().strip() == text


def test_clean_runs_tells_goes_on_and_is_quiet_with_json(call, root) -> None:
    asked = (
        "clean",
        root / "raw",
        "--out",
        root / "out",
        "--model",
        root / "model",
        "--size",
        32,
        "--workers",
        1,
    )
    code, out, err = call(*asked)
    assert code == 0
    steps = [line.partition(" ...")[0].partition(":")[0] for line in err.splitlines()]
    assert steps == ["audit", "judge", "judge endings", "merge", "report"]
    assert "60 pairs read (folder_text)" in out and "report.html" in out
    code, out, err = call(*asked)
    assert code == 0 and "finished already" in err
    code, out, err = call(*asked, "--json")
    assert code == 0 and err == "" and json.loads(out) == json.loads((root / "out" / "run.json").read_text())


def test_clean_names_the_setting_that_changed(call, root, cleaned) -> None:
    code, out, err = call("clean", root / "raw", "--out", cleaned, "--model", root / "model", "--size", 32)
    assert (code, out) == (2, "")
    assert "proposals was 2, is 6" in " ".join(err.split()) and "--restart" in err


def test_dry_run_writes_nothing(call, root) -> None:
    before = listing(root)
    code, out, _ = call("clean", root / "raw", "--out", root / "never", "--dry-run")
    assert code == 0 and json.loads(out)["format"] == "folder_text" and listing(root) == before


def test_why_explains_by_name_and_by_key(call, cleaned) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(cleaned / "pairs.parquet").to_pylist()
    replaced = next(row for row in rows if row["decision"] == "replace")
    code, out, _ = call("why", cleaned, replaced["name"])
    assert (
        code == 0
        and replaced["key"] in out
        and "replace" in out
        and "add" in out
        and replaced["reason"] in out
    )
    assert call("why", cleaned, replaced["key"][:8])[1] == out
    told = json.loads(call("why", cleaned, replaced["name"], "--json")[1])
    assert [row["decision"] for row in told] == ["replace", "add", "reject"]
    assert call("why", cleaned, "nobody")[0] == 2


MISTAKES = {
    "a path that is not there": (("check", "nowhere"), "does not exist"),
    "an empty folder": (("check", "empty"), "is empty"),
    "a folder of something else": (("clean", "other", "--out", "x"), "not a set of image-text pairs"),
    "a model that is not there": (("clean", "raw", "--out", "x", "--model", "nowhere"), "no model at"),
    "a model folder that is something else": (("clean", "raw", "--out", "x", "--model", "raw"), "not a model folder"),
    "a model that is a file": (("clean", "raw", "--out", "x", "--model", "other/notes.md"), "not a model"),
    "a trusted set that is empty": (("clean", "raw", "--out", "x", "--trusted", "empty"), "is empty"),
    "a test set that is not there": (("clean", "raw", "--out", "x", "--test", "nowhere"), "does not exist"),
    "a share above one": (("clean", "raw", "--out", "x", "--false-drop", "7"), "false_drop"),
    "an unknown way": (("clean", "raw", "--out", "x", "--decode", "greedily"), "'nucleus'"),
    "a size that no judge reads": (("clean", "raw", "--out", "x", "--size", "10"), "multiple of 8"),
    "no effort": (("clean", "raw", "--out", "x", "--effort", "0"), "effort"),
    "output in the input": (("clean", "raw", "--out", "raw/out"), "Choose a folder outside"),
    "input in the output": (("clean", "raw", "--out", "."), "lies inside it"),
    "output below a file": (("clean", "raw", "--out", "other/notes.md/out", "--model", "model"), "cannot be written"),
    "output of somebody else": (("clean", "raw", "--out", "other", "--model", "model"), "not empty"),
    "a run that is not one": (("why", "raw", "00001"), "no ledger"),
    "a model without pictures": (("match", "raw/none.png", "a wall", "--model", "model"), "cannot be read"),
    "a misspelt option": (("clean", "raw", "--out", "x", "--false-drip", "0.1"), "--false-drop"),
    "a misspelt command": (("claen", "raw"), "clean"),
    "half a number": (("clean", "raw", "--out", "x", "--proposals", "two"), "--proposals"),
    "threads below none": (("index", "raw", "--out", "x", "--workers", "-1"), "--workers"),
    "processes below none": (("embed", "raw", "--out", "x", "--model", "model", "--workers", "-1"), "--workers"),
    "workers below none": (("check", "raw", "--workers", "-1"), "--workers"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_wrong_use_ends_with_2_and_says_why(call, root, case: str, monkeypatch) -> None:
    monkeypatch.chdir(root)
    (root / "empty").mkdir(exist_ok=True)
    (root / "other").mkdir(exist_ok=True)
    (root / "other" / "notes.md").write_text("mine")
    before = listing(root)
    words, expected = MISTAKES[case]
    code, out, err = call(*words)
    assert (code, out) == (2, ""), err
    assert expected in " ".join(err.split()), err
    assert listing(root) == before


def test_score_writes_a_table_and_never_writes_over_one(call, root) -> None:
    import pyarrow.parquet as pq

    asked = (
        "score",
        root / "good",
        "--model",
        root / "model",
        "--out",
        root / "scores.parquet",
        "--workers",
        1,
    )
    code, out, _ = call(*asked, "--json")
    assert code == 0 and json.loads(out)["texts"] == 12
    table = pq.read_table(root / "scores.parquet").to_pylist()
    assert {row["name"] for row in table} == {f"{index:05d}" for index in range(12)}
    assert all(row["score"] is not None for row in table)
    code, _, err = call(*asked)
    assert code == 2 and "exists already" in err
    assert not list(root.glob(".scores*"))


def test_match_ranks_texts_by_score(call, root) -> None:
    texts = ["a plain red wall", "a dotted blue wall"]
    code, out, _ = call("match", root / "good" / "00000.png", *texts, "--model", root / "model", "--json")
    told = json.loads(out)
    scores = [row[told["ways"][0]] for row in told["texts"]]
    assert code == 0 and sorted(row["text"] for row in told["texts"]) == sorted(texts)
    assert scores == sorted(scores, reverse=True)


def test_a_disk_that_fails_is_told_with_what_to_do(call, monkeypatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("pairloom.cli.build", full)
    code, out, err = call("check", "anything")
    assert (code, out) == (1, "") and "somewhere: No space left" in err and "Make room" in err


def test_a_table_for_people_cuts_what_fills_the_screen(monkeypatch) -> None:
    from io import StringIO

    from rich.console import Console

    from pairloom.cli import _show

    screen = StringIO()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(_show, "out", Console(file=screen, width=80))
    _show.table("Texts", ["text"], [["word " * 10_000]])
    assert 250 < len(screen.getvalue().replace(" ", "")) < 1500


def test_ctrl_c_before_a_command_begins_is_no_traceback(call, monkeypatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pairloom.cli.build", interrupted)
    code, out, err = call("check", "anything")
    assert (code, out) == (130, "") and err.startswith("Stopped.")


@pytest.mark.slow
def test_ctrl_c_stops_at_once_says_so_and_leaves_no_worker(root) -> None:
    command = [sys.executable, "-c", "from pairloom.cli import main; main()"]
    command += ["clean", str(root / "raw"), "--out", str(root / "stopped"), "--size", "32", "--workers", "2"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # where the tests themselves run in the background of a shell, Ctrl-C is switched off for all that they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("train judge"):
            break
    time.sleep(3)  # its workers are in the middle of it
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 130
    assert "Run the same command again" in rest and "Traceback" not in rest
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
