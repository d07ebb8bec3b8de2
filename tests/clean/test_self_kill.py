"""A run with the judge `self`, captions and the proof that is killed anywhere ends, when it is run again, with the same bytes.

A file of its own, so that it runs beside test_run_kill.py.
"""

import random
from pathlib import Path

import colours
import pytest

from experiments.benchmarks import bench_kill


@pytest.mark.slow
def test_the_judge_self_survives_random_kills(tmp_path: Path) -> None:
    colours.write(tmp_path / "raw", 80)
    colours.write(tmp_path / "test", 30, bad=0)
    assert bench_kill.survive(tmp_path, moments=4, workers=[1, 2], dice=random.Random(0)) == 0
