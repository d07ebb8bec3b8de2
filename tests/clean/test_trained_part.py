"""The trained part of the judge `self`: for drawings alone, saved and loaded with the scores of the ledger."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import colours

import pairloom
from pairloom.clean import ridge_training, trained_part
from pairloom.clean.plan import CleanSettings
from pairloom.clean.ridge_judge import KINDS, TRAINED, RidgeJudge
from pairloom.clean.rows import audit_rows, write_donors
from pairloom.clean.run import clean
from pairloom.clean.trained_part import are_drawings
from pairloom.data.shards import open_set
from pairloom.scale import Execution


def median_is_drawing(tmp_path: Path, pixels: np.ndarray) -> bool:
    """What `are_drawings` says of an audited set of these pictures."""
    raw = tmp_path / f"raw-{len(pixels)}-{pixels[0, 0, 0, 0]}"
    raw.mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(raw / f"{number}.png")
        (raw / f"{number}.txt").write_text(f"picture {number}\n")
    return are_drawings(audit_rows(open_set(raw), tmp_path / f"work-{raw.name}", 32))


def test_flat_pictures_are_drawings_and_photos_are_not(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    flat = np.full((5, 32, 32, 3), 200, np.uint8)
    for number, each in enumerate(flat):
        each[4 + number : 9 + number, 4:9] = (250, 0, 0)
    photos = draw.integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    assert median_is_drawing(tmp_path, flat) and not median_is_drawing(tmp_path, photos)
    assert median_is_drawing(tmp_path, np.concatenate([flat, photos[:4]]))


def test_the_saved_judge_has_the_scores_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_part, "LEAST", 60)
    monkeypatch.setattr(trained_part, "are_drawings", lambda rows: True)
    raw, out = colours.write(tmp_path / "raw", 120), tmp_path / "out"
    settings = CleanSettings(size=32, effort=0.001, captions=False, image_tower="none", text_tower="none")
    facts = clean(raw, out, settings).facts
    assert set(facts["judge"]["parts"]) == {
        *(f"{kind}: {way}" for kind in KINDS for way in ("picture to text", "text to picture")),
        TRAINED,
    }
    judge = pairloom.load_judge(out / "models" / "judge")
    assert isinstance(judge, RidgeJudge) and judge.trained is not None and judge.weights.shape == (5, 7)
    rows = [row for row in pq.read_table(out / "pairs.parquet").to_pylist() if row["score"] is not None]
    pictures = [(raw / row["name"]).with_suffix(".png") for row in rows]
    assert judge.scores(pictures, [row["text"] for row in rows]).tolist() == [row["score"] for row in rows]
    judgement = judge(pictures, [row["text"] for row in rows])
    assert judge.tells_words and judgement.decisions == [
        "keep" if row["decision"] == "keep" else "drop" for row in rows
    ]
    known = [
        (row["p_words"], tuple(row["wrong_words"]), at)
        for at, row in enumerate(rows)
        if row["p_words"] is not None
    ]
    assert known and all(
        (judgement.p_words[at], judgement.wrong_words[at]) == (chance, words) for chance, words, at in known
    )
    again = judge.save(tmp_path / "copy")
    assert pairloom.load_judge(again).identity == judge.identity  # type: ignore[attr-defined]


def test_a_judge_that_a_kill_left_incomplete_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_part, "LEAST", 60)
    monkeypatch.setattr(trained_part, "are_drawings", lambda rows: True)
    pairs, work = open_set(colours.write(tmp_path / "raw", 80)), tmp_path / "work"
    rows = audit_rows(pairs, work, 32)
    write_donors(rows)
    half = work / "judge" / TRAINED / "0"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"cut off")
    settings = CleanSettings(size=32, effort=0.001, image_tower="none", text_tower="none")
    where = ridge_training.train_judge(
        work, pairs, rows, rows.folder, settings, Execution(), lambda *_, **__: None
    )
    judge = pairloom.load_judge(where)
    assert isinstance(judge, RidgeJudge) and judge.trained is not None
