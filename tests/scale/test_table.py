"""One table of many parts: what is there already, and what is another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pairloom.errors import Mistake
from pairloom.scale import Execution
from pairloom.scale.table import make_table, parts_of

SCHEMA = pa.schema([("key", pa.string()), ("score", pa.float64())])


@dataclass(frozen=True)
class Job:
    """One row; the job of a missing model fails."""

    part: Path
    key: str
    model: str = "there"


def work(job: Job) -> str:
    if job.model != "there":
        raise Mistake(f"There is no model at {job.model}.")
    pq.write_table(pa.Table.from_pylist([{"key": job.key, "score": 1.0}], SCHEMA), job.part)
    return job.key


def make(out: Path, keys: str = "ab", model: str = "there", restart: bool = False) -> list[str]:
    jobs = [Job(parts_of(out) / f"{key}.parquet", key, model) for key in keys]
    return make_table(work, jobs, out, SCHEMA, keys + model, Execution(), restart, lambda done, total: None)


def test_rows_stand_in_the_order_of_the_jobs_and_parts_go(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    assert make(out) == ["a", "b"] and pq.read_table(out).column("key").to_pylist() == ["a", "b"]
    assert not parts_of(out).exists()
    with pytest.raises(Mistake, match="exists already"):
        make(out)
    make(out, "cd", restart=True)
    assert pq.read_table(out).column("key").to_pylist() == ["c", "d"]


@pytest.mark.parametrize("kind", ["text", "table", "folder"])
def test_what_is_not_ours_is_not_replaced_by_restart(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "mine"
    if kind == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif kind == "text":
        out.write_text("years of work")
    else:
        pq.write_table(pa.table({"years": ["of work"]}), out)
    held = sorted((path.name, path.read_bytes()) for path in [out, *out.glob("*")] if path.is_file())
    with pytest.raises(Mistake, match="Nothing of yours is ever overwritten"):
        make(out, restart=True)
    assert held == sorted((path.name, path.read_bytes()) for path in [out, *out.glob("*")] if path.is_file())


def test_a_wrong_model_at_first_does_not_stand_in_the_way_of_the_right_one(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    with pytest.raises(Mistake, match="no model"):
        make(out, model="nowhere")
    assert make(out) == ["a", "b"]


def test_rows_of_another_plan_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    with pytest.raises(Mistake, match="no model"):
        make_table(
            work, [Job(parts_of(out) / "a.parquet", "a"), Job(parts_of(out) / "b.parquet", "b", "nowhere")],
            out, SCHEMA, "one plan", Execution(), False, lambda done, total: None,
        )  # fmt: skip
    with pytest.raises(Mistake, match="another set or model"):
        make(out)
    assert make(out, restart=True) == ["a", "b"]
