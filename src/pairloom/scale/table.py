"""Tables built in parts: a parquet part for each item, written by its worker, and resumed after a kill.

A job has a `part`, the file that its function writes atomically.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake
from pairloom.scale import Execution


def parts_of(out: Path) -> Path:
    """The folder of a table's parts, until the table is complete."""
    return out.with_name(f".{out.name}.parts")


def make_table(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    out: Path,
    schema: pa.Schema,
    plan: str,
    execution: Execution,
    restart: bool,
    tell: Callable[[int, int], None],
) -> list[Any]:
    """Build a table: run function(job), which writes job.part, for each job, and concatenate the parts to `out` (.parquet).

    plan: identifies the inputs of the table; parts of another plan are refused. tell(done, total) is called after each job.
    Returns the functions' results. Mistake where `out` exists; with `restart` a table of these columns is replaced, nothing
    else.
    """
    parts = parts_of(out)
    if restart:
        demand_ours(out, schema)
        shutil.rmtree(parts, ignore_errors=True)
        out.unlink(missing_ok=True)
    if out.exists():
        raise Mistake(
            f"{out} exists already.",
            "Nothing of yours is ever overwritten.",
            "Name another --out, or add --restart.",
        )
    mark = content_hash(plan.encode())
    other = (parts / "plan").is_file() and (parts / "plan").read_text() != mark
    if other and any(parts.glob("*.parquet")):
        raise Mistake(
            f"{parts} holds rows of another set or model.", "", "Name another --out, or add --restart."
        )
    with atomic_write(parts / "plan", replace=True) as file:
        file.write(mark.encode())
    tell(0, len(jobs))
    results = []
    for _, result in execution.run(function, jobs):
        results.append(result)
        tell(1, len(jobs))
    with atomic_write(out) as file, pq.ParquetWriter(file, schema) as writer:
        for job in jobs:
            writer.write_table(pq.read_table(job.part, schema=schema))
    shutil.rmtree(parts)
    return results


def demand_ours(out: Path, schema: pa.Schema) -> None:
    """Raise Mistake where `out` exists and is not a table of this schema."""
    if not out.exists():
        return
    try:
        columns = pq.read_schema(out).names
    except (OSError, pa.ArrowException):  # a folder, or no parquet at all
        columns = []
    if columns != schema.names:
        raise Mistake(
            f"{out} is no table of {', '.join(schema.names)}.",
            "Nothing of yours is ever overwritten.",
            "Name another --out.",
        )
