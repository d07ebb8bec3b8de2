"""Hard negatives by the command: a pipeline and a table go in, adapters come out, and whatever judges can take them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffused import pipeline_folder  # noqa: E402

import pairloom  # noqa: E402
from pairloom.cli import export, match, train  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.tasks.denoise import DenoisingScorer  # noqa: E402
from pairloom.weights.diffusers import ADAPTERS, adapter_bytes  # noqa: E402

TEXTS = ("a red square", "a blue square", "two cats", "a green house", "a tree", "a car")


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pipes") / "small"
    pipeline_folder(where)
    return where


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, and a table of negatives in it, whose fourth picture is missing."""
    where = tmp_path_factory.mktemp("coco")
    (where / "train").mkdir()
    random = np.random.default_rng(0)
    with open(where / "train_neg_clip.tsv", "w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["", "title", "filepath", "neg_caption", "neg_image"])
        for row, text in enumerate(TEXTS):
            near = [other for other in range(len(TEXTS)) if other != row][:3]
            table.writerow([row, text, f"train/{row}.png", [f"no {text}"], near])
            if row != 3:
                pixels = random.integers(0, 256, (40, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / "train" / f"{row}.png")
    return where


def ask(command: Any, *words: object) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def learn(pipe: Path, given: Path, out: Path, *words: object) -> dict[str, Any]:
    table = given / "train_neg_clip.tsv"
    told = [
        "latent_diffusion",
        "--data",
        given,
        "--negatives",
        table,
        "--init",
        pipe,
        "--recipe",
        "hardneg",
        "--out",
        out,
    ]
    return ask(
        train.command, *told, "--held-out", 0, "batch=5", "epochs=3", "lr=0.01", "--device", "cpu", *words
    )


def scores(model: Any) -> np.ndarray:
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return DenoisingScorer(model, steps=3).scores(images, TEXTS[:2], [(0, 0), (0, 1), (1, 0), (1, 1)])


def test_from_pipeline_and_table_to_adapters(pipe: Path, given: Path, tmp_path: Path) -> None:
    """Only adapters learn; their file, beside the pipeline, says what the trained model says, and so does an export."""
    out = tmp_path / "out"
    told = learn(pipe, given, out, "model.rank=2")
    assert told["pictures"] == 5 and told["skipped"] == {"a picture is missing": 1}
    assert told["losses/negative"] < 0 < told["losses/denoise"]
    learned = load_file(out / ADAPTERS)
    assert told["parameters"] == sum(tensor.numel() for tensor in learned.values())
    assert all(".processor.to_" in name and tensor.ndim == 2 for name, tensor in learned.items())
    before, after = scores(pairloom.load(pipe)), scores(pairloom.load(out))
    assert np.abs(after - before).max() > 1e-5
    both = tmp_path / "both"
    ask(export.command, out, "--to", "diffusers", "--out", both)
    np.testing.assert_allclose(scores(pairloom.load(both)), after, atol=1e-6)
    ask(export.command, pipe, "--to", "diffusers", "--out", tmp_path / "copy")
    (tmp_path / "copy" / ADAPTERS).write_bytes((out / ADAPTERS).read_bytes())
    np.testing.assert_allclose(scores(pairloom.load(tmp_path / "copy")), after, atol=1e-6)
    said = ask(match.command, given / "train" / "0.png", *TEXTS[:2], "--model", tmp_path / "copy")
    assert said["ways"] == ["denoising error"] and len(said["texts"]) == 2


def test_the_same_again_and_going_on(pipe: Path, given: Path, tmp_path: Path) -> None:
    """The same order gives the same adapters; a trained model goes on with those that it has."""
    for name in ("one", "two"):
        learn(pipe, given, tmp_path / name, "model.rank=2")
    one, two = (load_file(tmp_path / name / ADAPTERS) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    learn(tmp_path / "one", given, tmp_path / "more", "lr=1e-9")
    more = load_file(tmp_path / "more" / ADAPTERS)
    assert all(torch.allclose(one[name], more[name], atol=1e-5) for name in one)


def test_cross_attention_alone(pipe: Path, given: Path, tmp_path: Path) -> None:
    """And held-out rows are measured without negatives."""
    told = learn(
        pipe, given, tmp_path / "out", "model.rank=2", "model.adapted=cross", "--held-out", 0.5, "batch=2"
    )
    assert 2 <= told["held out"] == 5 - told["pictures"]
    assert told["held out/loss"] > 0 and not any("negative" in name for name in told if "held out/" in name)
    assert all(".attn2." in name for name in load_file(tmp_path / "out" / ADAPTERS))


def test_what_does_not_fit(pipe: Path, given: Path, tmp_path: Path) -> None:
    table = given / "train_neg_clip.tsv"
    words = ["--negatives", table, "--data", given, "--out", tmp_path / "out"]
    with pytest.raises(Mistake, match="clip does not learn from them"):
        ask(train.command, "clip", *words)
    with pytest.raises(Mistake, match="a set by itself"):
        ask(train.command, "latent_diffusion", *words, "--mix", f"{given}=0.5")
    words[3] = tmp_path / "elsewhere"
    words[3].mkdir()
    with pytest.raises(Mistake, match="nothing to learn from"):
        ask(train.command, "latent_diffusion", *words)
    assert not (tmp_path / "out").exists()
    with pytest.raises(Mistake, match="no adapters to write"):
        adapter_bytes(pairloom.load(pipe))
