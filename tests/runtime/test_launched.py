"""Processes of torchrun end right after their work: with their exit code, their output and what is to be done at exit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys
from pairloom.runtime.launched import run_to_exit

class Thread:
    def __del__(self):
        print("torn down")

left = Thread()
atexit.register(lambda: print("at exit"))

def work():
    print("done")
    {end}

run_to_exit(work)
"""


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [("pass", 0, ""), ("sys.exit(0)", 0, ""), ("sys.exit(2)", 2, ""), ("sys.exit('no')", 1, "no\n")],
)
def test_a_process_of_torchrun_is_not_torn_down(end: str, code: int, error: str) -> None:
    for launched in (True, False):
        environment = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
        environment |= {"TORCHELASTIC_RUN_ID": "1"} if launched else {}
        command = [sys.executable, "-c", SCRIPT.format(end=end)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (code, error)
        assert done.stdout.split("\n")[:-1] == ["done", "at exit"] + ["torn down"] * (not launched)


def test_an_exception_is_told_as_ever() -> None:
    command = [sys.executable, "-c", SCRIPT.format(end="raise ValueError('why')")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TORCHELASTIC_RUN_ID": "1"}
    )
    assert done.returncode == 1 and "ValueError: why" in done.stderr
