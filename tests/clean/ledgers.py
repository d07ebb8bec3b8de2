"""Small ledgers and runs with known answers, for the tests of the report."""

from __future__ import annotations

import io
import math
from typing import Any

import pyarrow
from PIL import Image

from pairloom.data.pair import content_hash

THRESHOLD = 0.0
COLUMNS = {
    "key": pyarrow.string(), "image_key": pyarrow.string(), "name": pyarrow.string(), "shard": pyarrow.string(),
    "text_id": pyarrow.int64(), "text": pyarrow.string(), "source": pyarrow.string(),
    "findings": pyarrow.list_(pyarrow.string()), "score": pyarrow.float64(), "p_match": pyarrow.float64(),
    "decision": pyarrow.string(), "reason": pyarrow.string(),
}  # fmt: skip


def key_of(name: str) -> str:
    return content_hash(name.encode())


def chance(score: float) -> float:
    """The calibration curve of these runs: a logistic of slope 2."""
    return 1 / (1 + math.exp(-2 * score))


def row(name: str, decision: str, score: float | None = None, **more: Any) -> dict[str, Any]:
    made = {
        "key": key_of(name), "image_key": key_of(name), "name": name, "shard": "00000", "text_id": 0,
        "text": f"the text of {name}", "source": "original", "findings": [], "score": score,
        "p_match": None if score is None else chance(score), "decision": decision, "reason": f"Because {decision}.",
    }  # fmt: skip
    return {**made, **more}


def table(rows: list[dict[str, Any]]) -> pyarrow.Table:
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(COLUMNS))


def world(pairs: int) -> list[dict[str, Any]]:
    """Pair i has score -2 + 4 i / pairs. Of those below 0 every other one is replaced; every tenth is a file name."""
    rows = []
    for index in range(pairs):
        name, score = f"pair{index:06}", -2 + 4 * index / pairs
        if index % 10 == 9:
            rows.append(
                row(
                    name, "drop", text=f"IMG_{index}.jpg", findings=["file_name"], reason="It is a file name."
                )
            )
        elif score >= THRESHOLD:
            rows.append(row(name, "keep", score))
        elif index % 2:
            rows.append(row(name, "drop", score))
        else:
            rows.append(row(name, "replace", score))
            rows.append(
                row(name, "add", 1.5, text_id=1, text=f"a new text of {name}", source="synthetic:self")
            )
    return rows


def calibration() -> dict[str, Any]:
    edges = [-2 + 0.5 * index for index in range(9)]
    return {
        "auroc": 0.95, "auroc_low": 0.93, "auroc_high": 0.97, "planted": 40, "threshold": THRESHOLD,
        "p_threshold": 0.5, "false_drop_budget": 0.05, "false_drop": 0.04, "found": 0.9, "found_low": 0.85,
        "found_high": 0.94, "bad_share": 0.3, "decides": True, "why": "", "ece": 0.02,
        "bins": [{"p": 0.1, "rate": 0.12, "n": 30}, {"p": 0.9, "rate": 0.88, "n": 30}],
        "curve": [[edge, chance(edge)] for edge in edges],
        "histogram": {"edges": edges, "own": [5] * 8, "planted": [10, 10, 10, 6, 2, 2, 0, 0]},
    }  # fmt: skip


def certainty() -> dict[str, Any]:
    """The facts of a calibration that say how sure it is: one check passed and one failed."""
    checks = [
        {"name": "strength", "passed": True, "says": "The judge is strong."},
        {"name": "halves", "passed": False, "says": "The halves differ."},
    ]
    return {
        "own": 200, "worst_case": 0.1, "false_drop_low": 0.01, "false_drop_high": 0.09, "bad_share_low": 0.2,
        "bad_share_high": 0.4, "confidence": 0.9, "basis": "labels", "labels": 50, "checks": checks, "label_limit": 0.5,
    }  # fmt: skip


def run(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "pairloom": "0.1.0",
        "command": {"false_drop": 0.05, "seed": 0},
        "set": {"path": "pictures", "format": "folder", "pairs": 40, "texts": 40, "images": 40},
        "audit": {"file_name": {"count": 4, "says": "The text is a file name."}},
        "judge": {"model": "self", "way": "match", "folds": 2},
        "calibration": calibration(),
        "counts": {},
        "captioner": {"model": "self"},
        "prove": {
            "rows": [
                {
                    "metric": "R@1",
                    "raw": 0.2,
                    "clean": 0.3,
                    "difference": 0.1,
                    "low": 0.05,
                    "high": 0.15,
                    "p": 0.01,
                }
            ],
            "seeds": 3,
        },
        "truth": {
            "kinds": [{"kind": "file_name", "planted": 4, "found": 4, "recall": 1.0, "precision": 0.5}]
        },
    }
    return {**made, **more}


def picture(key: str) -> bytes:
    """A flat PNG whose colour is the key's first digits."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), tuple(bytes.fromhex(key[:6]))).save(out, "PNG")
    return out.getvalue()
