"""A run that is killed ends, when it is run again, with the bytes of the run that was not: at every moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import colours
import oracle
import pytest
from kills import die_at, files, states

import pairloom
from pairloom.clean import plan
from pairloom.data.shards import open_set, save_set
from pairloom.errors import Mistake

# Python 3.12 warns of a fork beside threads; the child here touches the disk and dies
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    """A folder with raw/ (two tars of colours) and whole/ (what a run without a kill makes of it)."""
    root = tmp_path_factory.mktemp("kill")
    folder = colours.write(root / "folder", 70)
    save_set(open_set(folder).pairs(), root / "raw", "webdataset", size=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        counts = oracle.run("raw", "whole").counts
    assert counts["replace"] >= 5 and counts["add"] >= 5  # captions are part of what is killed
    return root


@pytest.fixture(autouse=True)
def inside(monkeypatch, where) -> None:
    monkeypatch.chdir(where)


def cleaning(out: str, restart: bool = False) -> None:
    oracle.run("raw", out, restart=restart)


def checking(out: str, restart: bool = False) -> None:
    pairloom.open("raw").check(out=out, workers=1, restart=restart)


def survives(step: int, name: str) -> bool:
    """Whether the run was killed at that step at all; checks that it then ended as if it had not been."""
    out = f"{name}-{step}"
    code = die_at(step, lambda: cleaning(out))
    oracle.run("raw", out)
    assert files(Path(out)) == files(Path("whole")), f"killed before change {step}"
    return code == 9


@pytest.mark.parametrize("step", [0, 1, 17, 33])
def test_a_kill_between_two_changes_of_the_disk_leaves_no_trace(step: int) -> None:
    assert survives(step, "between")


def check_survives(step: int, name: str, restart: bool = False) -> bool:
    """The same of a check; restart: over a finished one."""
    whole, out = Path("checked"), f"check-{name}-{step}"
    if not whole.exists():
        checking(str(whole))
    if restart:
        checking(out)
    code = die_at(step, lambda: checking(out, restart))
    checking(out, restart)
    assert files(Path(out)) == files(whole), f"killed before change {step}"
    return code == 9


@pytest.mark.parametrize("step", [0, 1, 9, 21])
def test_a_check_that_is_killed_leaves_no_trace(step: int) -> None:
    assert check_survives(step, "between")


def test_a_check_that_is_killed_while_an_old_one_is_forgotten_leaves_no_trace() -> None:
    assert all(check_survives(step, "again", restart=True) for step in (1, 4, 7))


@pytest.mark.slow
def test_a_check_that_is_killed_before_any_change_leaves_no_trace() -> None:
    checking("check-whole")
    left = states(Path("check-live"), lambda: checking("check-live"))
    assert len(left) > 15
    for state in left:
        checking(str(state))
        assert files(state) == files("check-whole"), state


@pytest.mark.slow
def test_a_kill_before_every_single_change_leaves_no_trace() -> None:
    left = states(Path("live"), lambda: cleaning("live"))
    assert len(left) > 33
    for state in left:
        oracle.run("raw", str(state))
        assert files(state) == files("whole"), state


@pytest.mark.parametrize("step", [1, 5])
def test_a_kill_while_an_old_run_is_forgotten_leaves_no_trace(step: int) -> None:
    """--restart over a finished run, killed while the old one is removed: the folder still counts as ours."""
    out = f"again-{step}"
    oracle.run("raw", out)
    assert die_at(step, lambda: cleaning(out, restart=True)) == 9
    oracle.run("raw", out, restart=True)
    assert files(Path(out)) == files(Path("whole"))


@pytest.mark.slow
def test_workers_do_not_change_a_byte(where) -> None:
    assert start(where, "two", workers=2).wait() == 0
    assert files(where / "two") == files(where / "whole")


def test_a_killed_parent_takes_its_workers_along(where) -> None:
    process = start(where, "orphans", workers=2)
    family: set[int] = set()
    while len(family) < 3 and process.poll() is None:  # two workers and the tracker of their resources
        family |= set(children(process.pid))
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(family) >= 3
    for _ in range(2400):  # a busy machine may take its time
        if not any(map(alive, family)):
            break
        time.sleep(0.05)
    assert not any(map(alive, family))
    oracle.run("raw", "orphans")
    assert files(where / "orphans") == files(where / "whole")


def test_two_runs_do_not_write_into_one_folder(where) -> None:
    with plan.alone(where / "whole"), pytest.raises(Mistake, match="Another run is at work"):
        oracle.run("raw", "whole")


def test_what_is_done_already_is_said_and_not_done_again(where) -> None:
    die_at(25, lambda: cleaning("told"))
    said: dict[str, str] = {}

    def tell(step, done, total, bad=0, note=""):
        if not done:
            said[step] = note

    oracle.run("raw", "told", tell=tell)
    assert said["audit"] == "2 of 2 already done"
    oracle.run("raw", "told", tell=tell)
    assert "finished already" in said["clean"]


def start(root: Path, out: str, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(Path(oracle.__file__)), "raw", out, str(workers)]
    return subprocess.Popen(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"})


def children(parent: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
