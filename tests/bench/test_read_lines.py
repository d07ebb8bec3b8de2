"""JSON lines of a benchmark: a line ends where the file says so, not at what Unicode calls a line."""

import json
from pathlib import Path

import pytest

from pairloom.bench._case import read_lines
from pairloom.errors import Mistake


def test_texts_with_line_separators_stay_whole(tmp_path: Path) -> None:
    rows = [{"caption": "one\u2028two"}, {"caption": "three\x85four\x1cfive"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", "utf-8")
    assert read_lines(file) == rows
    file.write_text('{"caption": 1}\n{"cap', "utf-8")
    with pytest.raises(Mistake, match="line 2"):
        read_lines(file)
