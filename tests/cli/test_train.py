"""train: what of its options does not fit is one clear sentence, before any work."""

from __future__ import annotations

from pathlib import Path

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
