"""Vectors: the scan is exact, whatever the numbers are; what is cut off is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.errors import Mistake
from pairloom.search.vectors import FINE, Vectors, write


def made(folder: Path, values: torch.Tensor) -> Vectors:
    write(folder, range(len(values)), values)
    return Vectors(folder, *values.shape)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 400),
    count=st.integers(1, 500),
    near=st.sampled_from([0.0, 3, 300]),
)
def test_the_scan_finds_what_a_full_product_finds(tmp_path_factory, seed, rows, count, near) -> None:
    """near: how much of every vector is the same one: at 300 all cosines lie within bf16's rounding."""
    draw = torch.Generator().manual_seed(seed)
    values = F.normalize(
        torch.randn(rows, 24, generator=draw) + near * torch.randn(24, generator=draw), dim=1
    )
    query = F.normalize(values[seed % rows] + 0.1 * torch.randn(24, generator=draw), dim=0)
    dead = torch.randperm(rows, generator=draw)[: rows // 5].sort().values
    found, scores = made(tmp_path_factory.mktemp("vectors"), values).top(query, count, dead)
    truth = (values.double() @ query.double()).round(decimals=6)
    truth[dead] = -9
    alive = rows - len(dead)
    assert len(found) >= min(count, alive) and not set(found.tolist()) & set(dead.tolist())
    order = sorted(range(rows), key=lambda row: (-float(truth[row]), row))[: len(found)]
    assert found.tolist() == order
    assert scores.tolist() == pytest.approx(truth[found].tolist(), abs=1e-9)
    if len(found) > count:  # only for ties with the last
        assert scores[count - 1] == scores[-1]


def test_ties_all_come_in_the_order_of_rows(tmp_path: Path) -> None:
    one = F.normalize(torch.arange(1.0, 9), dim=0)
    found, scores = made(tmp_path, one.repeat(50, 1)).top(one, 3)
    assert found.tolist() == list(range(50)) and set(scores.tolist()) == {1.0}


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    values = F.normalize(torch.randn(1000, 16, generator=torch.Generator().manual_seed(3)), dim=1)
    vectors, before = made(tmp_path, values), torch.get_num_threads()
    answers = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            answers.append([part.tolist() for part in vectors.top(values[7], 20)])
    finally:
        torch.set_num_threads(before)
    assert answers[0] == answers[1]


def test_rows_are_written_where_they_are_told(tmp_path: Path) -> None:
    values = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    write(tmp_path, range(6), values)
    write(tmp_path, [1, 4, 5, 6], values[[0, 1, 2, 3]])
    again = Vectors(tmp_path, 7, 8)
    assert torch.equal(again.fine, values[[0, 0, 2, 3, 1, 2, 3]])
    assert torch.equal(again.coarse, again.fine.bfloat16())


def test_a_file_that_is_cut_off_is_a_mistake(tmp_path: Path) -> None:
    made(tmp_path, torch.eye(8))
    with open(tmp_path / FINE, "r+b") as file:
        file.truncate(100)
    with pytest.raises(Mistake, match="not whole"):
        Vectors(tmp_path, 8, 8)
    assert Vectors(tmp_path, 0, 8).top(torch.eye(8)[0], 3)[0].tolist() == []
