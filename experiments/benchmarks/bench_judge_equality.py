"""Saved judge against the ledger: scores, P(match) and decisions of every judged text of a finished `clean`, bit for bit.

python experiments/benchmarks/bench_judge_equality.py pairloom-demo/raw pairloom-demo/clean
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import pairloom
from pairloom.data.shards import open_set


def main(raw: Path, cleaned: Path) -> int:
    """How many texts differ; printed with how many were compared."""
    pictures = {pair.key: pair.image.read() for pair in open_set(raw).pairs() if not pair.problem}
    table = pq.read_table(cleaned / "pairs.parquet")
    rows = [row for row in table.to_pylist() if row["score"] is not None and row["key"] in pictures]
    judge = pairloom.load_judge(cleaned / "models" / "judge", device="cpu")
    judged = judge([pictures[row["key"]] for row in rows], [row["text"] for row in rows])
    ledger = [np.array([row[name] for row in rows], np.float64) for name in ("score", "p_match")]
    differ = [int((saved != known).sum()) for saved, known in zip((judged.scores, judged.p_match), ledger)]
    # proposed captions (add, reject) need more than the judge's threshold
    expected = {"keep": "keep", "drop": "drop", "replace": "drop"}
    pairs = [(row["decision"], decision) for row, decision in zip(rows, judged.decisions)]
    own = [(expected[row], decision) for row, decision in pairs if row in expected]
    differ.append(sum(row != decision for row, decision in own))
    print(
        f"{len(rows)} texts: {differ[0]} scores and {differ[1]} P(match) differ, {differ[2]} of {len(own)} decisions"
    )
    return max(differ)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])) > 0)
