"""Embed: a row for each picture, broken ones too; the same table after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pairloom import registry
from pairloom.data.shards import open_set
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.scale.table import parts_of
from pairloom.tasks.embed import EmbedTask, embed_shard


@pytest.fixture(scope="module")
def model() -> Model:
    return build("clip", Tokens.train(["a red square"] * 4, 100), "tiny").eval()


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    where, draw = tmp_path / "pairs", numpy.random.default_rng(0)
    where.mkdir()
    for at in range(5):
        pixels = draw.integers(0, 256, (40, 30, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(where / f"{at}.png")
        (where / f"{at}.txt").write_text(f"text {at}")
    (where / "3.png").write_bytes((where / "3.png").read_bytes()[:40])
    return where


def test_every_picture_has_its_row(model: Model, pairs: Path, tmp_path: Path) -> None:
    command = registry.find("cli", "embed").command
    where, out = save(model, tmp_path / "model"), tmp_path / "out.parquet"
    command(pairs, where, out, workers=1)
    rows = {row["name"].split(".")[0]: row for row in pq.read_table(out).to_pylist()}
    assert sorted(rows) == ["0", "1", "2", "3", "4"]
    assert rows["3"]["embedding"] is None and rows["3"]["problem"]
    for pair in open_set(pairs).pairs():
        name = pair.name.split(".")[0]
        assert rows[name]["key"] == pair.image_key
        if name != "3":
            with torch.no_grad():
                expected = model.system.embed_image(model.batch([pairs / f"{name}.png"]))[0]
            assert rows[name]["embedding"] == pytest.approx(expected.tolist(), abs=1e-5)
    before = out.read_bytes()
    with pytest.raises(Mistake, match="exists already"):
        command(pairs, where, out)
    assert out.read_bytes() == before and not parts_of(out).exists()


def test_finished_parts_are_not_made_again(model: Model, pairs: Path, tmp_path: Path) -> None:
    where = save(model, tmp_path / "model")
    job = EmbedTask(open_set(pairs).shards[0], str(where), tmp_path / "part.parquet")
    job.part.write_text("finished")
    embed_shard(job)
    assert job.part.read_text() == "finished"


def test_parts_of_another_model_are_refused(model: Model, pairs: Path, tmp_path: Path) -> None:
    command = registry.find("cli", "embed").command
    where, out = save(model, tmp_path / "model"), tmp_path / "out.parquet"
    parts_of(out).mkdir()
    (parts_of(out) / "plan").write_text("another")
    (parts_of(out) / "rows.parquet").write_text("of another model")
    with pytest.raises(Mistake, match="another set or model"):
        command(pairs, where, out)
    command(pairs, where, out, workers=1, restart=True)
    assert len(pq.read_table(out)) == 5
    with pytest.raises(Mistake, match="cannot embed"):
        blind = build("blip", Tokens.train(["a cat"] * 9, 64), "tiny", ["itc=0"])
        command(pairs, save(blind, tmp_path / "blind"), tmp_path / "other.parquet")
