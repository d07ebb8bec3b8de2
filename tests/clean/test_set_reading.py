"""Sets as people have them, through `check` and `clean`: nothing lost without a word, nothing counted twice."""

import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairloom.data.shards import open_set
from pairloom.errors import Mistake


def picture(path: Path, seed: int) -> Path:
    """A picture with a few large patches, so that no two are near duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(rough).resize((48, 36), Image.Resampling.BICUBIC).save(path, "PNG")
    return path


def folder(root: Path, texts: list[str]) -> Path:
    for number, text in enumerate(texts):
        picture(root / f"{number}.png", number).with_suffix(".txt").write_text(text)
    return root


def test_names_that_are_not_utf8_reach_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file, of a folder and of a folder above the set: the run ends, again too, and its links lead to the files."""
    top = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr mich"))
    for number, name in enumerate((b"caf\xe9.png", b"gar\xe7ons/1.png", b"plain.png")):
        path = picture(Path(os.fsdecode(os.fsencode(top / "raw") + b"/" + name)), number)
        path.with_suffix(".txt").write_text("a red wall")
    with pytest.raises(Mistake, match="cannot be the output"):
        oracle.run(top / "raw", top / "out", oracle.SETTINGS)
    for out in (tmp_path / "out", tmp_path / "out"):
        oracle.run(top / "raw", out, oracle.SETTINGS)
        rows = pq.read_table(out / "pairs.parquet").to_pylist()
        assert {row["decision"] for row in rows} == {"keep"} and len(rows) == 3
        assert json.loads((out / "run.json").read_text())["set"]["path"] == str(top / "raw")
        assert (out / "report.html").exists()
    monkeypatch.chdir(top)
    oracle.run(Path("raw"), Path("out"), oracle.SETTINGS)
    assert len(list(Path("out/pairs").rglob("*.png"))) == 3


def test_links_of_the_report_are_bytes_of_the_name(tmp_path: Path) -> None:
    from pairloom.clean.pictures import ReportPictures

    path = picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/raw/caf\xe9.png")), 1)
    path.with_suffix(".txt").write_text("a red wall")
    (pair,) = open_set(tmp_path / "raw").pairs()
    link = ReportPictures(open_set(tmp_path / "raw"), tmp_path / "out", tmp_path).link(pair.key)
    assert link is not None and unquote_to_bytes(link) == b"../raw/caf\xe9.png"
