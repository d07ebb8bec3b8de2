"""train: what of its options does not fit is one clear sentence, before any work."""

from __future__ import annotations

import json
from pathlib import Path

import colours
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pairs")
    for at, name in enumerate(["red", "green", "blue", "yellow"] * 2):
        Image.new("RGB", (32, 32), name).save(where / f"{at}.png")
        (where / f"{at}.txt").write_text(f"a {name} picture number {at}")
    return where


@pytest.mark.parametrize(
    "words, said",
    [
        (("--device", "cuda:99"), "no device 'cuda:99'"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--workers", "-1"), "--workers"),
        (("--vocabulary", "3"), "--vocabulary"),
        (("model.heads=7",), "not a multiple of 7 heads"),
        (("model.image_size=7",), "not a multiple of patch"),
        (("model.dropout=2",), "between 0 and 1"),
        (("model.patch=0",), "blip cannot be built"),
        (("lr=1e30", "warmup=0"), "smaller lr"),
    ],
)
def test_what_does_not_fit_is_said(
    call, pairs: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    wanted = ("blip", "--data", pairs, "--preset", "tiny", "batch=4", "epochs=4", "log_every=8")
    code, out, err = call("train", *wanted, *words, "--out", tmp_path / "out")
    assert code == 2 and said in " ".join(err.split()) and not out


def test_ridge_regression_is_trained_in_closed_form(call, tmp_path: Path) -> None:
    raw = colours.write(tmp_path / "raw", 60, bad=0)
    ridge = (
        "train",
        "ridge",
        "--data",
        raw,
        "--out",
        tmp_path / "out",
        "--image-tower",
        "none",
        "--text-tower",
        "none",
    )
    code, out, _ = call(*ridge, "--dry-run", "--json")
    assert code == 0 and json.loads(out)["pictures"] == 60 and not (tmp_path / "out").exists()
    code, out, _ = call(*ridge, "--json")
    assert code == 0 and 0 <= json.loads(out)["text to image R@1"] <= 1
    assert call(*ridge)[0] == 2 and call(*ridge, "--restart")[0] == 0
    code, _, err = call(*ridge, "--restart", "lr=1e-3")
    assert code == 2 and "closed form" in err
    assert call("import", tmp_path / "out", "--out", tmp_path / "copy")[0] == 0
    code, _, err = call("import", tmp_path / "out", "--out", tmp_path / "small", "--size", "64")
    assert code == 2 and "frozen encoders" in " ".join(err.split())
    code, _, err = call("caption", raw / "00000.png", "--model", tmp_path / "copy")
    assert code == 2 and "cannot write captions" in " ".join(err.split())


def test_import_fills_new_folders_only(call, pairs: Path, tmp_path: Path) -> None:
    run = ("train", "blip", "--data", pairs, "--preset", "tiny", "batch=4", "epochs=1")
    assert call(*run, "--out", tmp_path / "model")[0] == 0
    assert call("import", tmp_path / "model", "--out", tmp_path / "taken")[0] == 0
    held = (tmp_path / "taken" / "model.safetensors").read_bytes()
    assert call(*run, "--out", tmp_path / "other", "seed=1")[0] == 0
    for out in (tmp_path / "taken", tmp_path / "other"):
        before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
        code, _, err = call("import", tmp_path / "model", "--out", out)
        assert code == 2 and "Nothing of yours is overwritten" in err
        assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert held == (tmp_path / "taken" / "model.safetensors").read_bytes()
    code, _, err = call("import", tmp_path / "model", "--out", tmp_path / "small", "--size", "-8")
    assert code == 2 and "--size" in err
