"""The engine: every result once, whatever the order; what fails in a worker reaches the caller; nothing hangs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairloom import scale
from pairloom.errors import Mistake


def square(value: int) -> int:
    time.sleep(0.02 * (value % 3))  # so that they finish in another order
    return value * value


def fails(value: int) -> int:
    if value == 3:
        raise Mistake("Three cannot be read.", "It is three.", "Leave it out.")
    if value > 3:
        time.sleep(60)  # nobody waits for these
    return value


def dies(value: int) -> int:
    if value == 2:
        os._exit(9)
    return value


def threads(_: int) -> tuple[int, str | None]:
    import torch

    return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_once_with_its_own_result(workers: int) -> None:
    items = [5, 2, 9, 4, 7, 1, 8]
    assert dict(scale.run(square, items, workers)) == {item: item * item for item in items}


def test_nothing_to_do_is_nothing_done() -> None:
    assert list(scale.run(square, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_in_a_worker_reaches_the_caller_and_nobody_is_waited_for(workers: int) -> None:
    with pytest.raises(Mistake) as caught:
        list(scale.run(fails, [3, 4, 5], workers))
    assert (caught.value.what, caught.value.do) == ("Three cannot be read.", "Leave it out.")


def test_a_worker_that_is_killed_is_a_mistake_that_says_so() -> None:
    with pytest.raises(Mistake, match="A worker process was killed"):
        list(scale.run(dies, [1, 2, 3, 4], 2))


def script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.py"
    file.write_text(text)
    return subprocess.run([sys.executable, str(file)], capture_output=True, text=True)


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    """As people write scripts; workers do not run it again."""
    done = script(tmp_path, "from pairloom import scale\nprint(sorted(scale.run(abs, [-3, 1, -2], 2)))\n")
    assert (done.stdout, done.stderr) == ("[(-3, 3), (-2, 2), (1, 1)]\n", "")


OWN = """
from pairloom import scale

class Number:
    def __init__(self, value):
        self.value = value

def double(number):
    return 2 * number.value

{}
    print(sorted(double for _, double in scale.run(double, [Number(1), Number(2), Number(3)], 2)))
"""


def test_what_a_script_defines_reaches_its_workers(tmp_path: Path) -> None:
    done = script(tmp_path, OWN.format('if __name__ == "__main__":'))
    assert (done.stdout, done.stderr) == ("[2, 4, 6]\n", "")


def test_a_script_whose_own_tasks_need_the_guard_is_told_so(tmp_path: Path) -> None:
    done = script(tmp_path, OWN.format("if True:"))
    assert done.returncode and 'under `if __name__ == "__main__":`' in done.stderr


def test_a_caller_that_stops_early_does_not_wait() -> None:
    found = scale.run(fails, [1, 4, 5, 6], 2)
    assert next(found) == (1, 1)
    found.close()


@pytest.mark.slow
def test_several_items_get_one_thread_each_and_the_caller_its_own_back(monkeypatch) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for workers in (1, 2):
            assert [found for _, found in scale.run(threads, [0, 1], workers)] == [(1, "1")] * 2
        assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (2, "2")
    finally:
        torch.set_num_threads(before)
