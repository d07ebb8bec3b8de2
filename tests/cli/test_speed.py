"""--speed on every command that asks a model: the three words answer nearly the same, another word is a Mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import pairloom
from pairloom.data.tokens import Tokens
from pairloom.model import build, save
from pairloom.runtime.speeds import implementation_of

TEXTS = ["a red square", "two small blue circles", "green"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model of clear opinions and a set of three pictures."""
    root = tmp_path_factory.mktemp("speed")
    model = build("blip", Tokens.train(TEXTS * 4, 80), "tiny", ["queue=0", "momentum=0"])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.system.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    save(model, root / "model")
    (root / "set").mkdir()
    for at, text in enumerate(TEXTS):
        pixels = np.random.default_rng(at).integers(0, 255, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(root / "set" / f"{at}.png")
        (root / "set" / f"{at}.txt").write_text(text)
    return root


def ask(call, place: Path, out: Path, name: str, speed: str) -> list[float]:
    """The numbers that a command gives."""
    told: dict[str, list[object]] = {
        "match": ["match", place / "set" / "0.png", *TEXTS, "--json"],
        "caption": ["caption", place / "set"],
        "score": ["score", place / "set", "--out", out / f"{speed}.parquet", "--json"],
        "embed": ["embed", place / "set", "--out", out / f"{speed}.parquet", "--json"],
        "classify": ["classify", place / "set", "--classes", "red,blue"],
    }
    code, said, error = call(*told[name], "--model", place / "model", "--speed", speed)
    if speed == "quick":
        assert code == 2 and f"no speed '{speed}'" in error
        return []
    assert code == 0, error
    if name in ("match", "score", "embed"):  # what was chosen for this speed
        towers = set(implementation_of(pairloom.load(place / "model").at_speed(speed).system).values())
        chosen = [] if speed == "exact" else sorted(towers)
        assert json.loads(said)["speed"] == ", ".join([speed, *chosen])
    if name == "match":
        rows = {row["text"]: row for row in json.loads(said)["texts"]}
        return [rows[text][way] for text in TEXTS for way in json.loads(said)["ways"]]
    if name == "score":
        return pq.read_table(out / f"{speed}.parquet").column("score").to_pylist()
    if name == "embed":
        rows = pq.read_table(out / f"{speed}.parquet").column("embedding").to_pylist()
        return [number for row in rows for number in row]
    lines = [json.loads(line) for line in said.splitlines()]
    if name == "caption":
        return [line["captions"][0]["per_token"] for line in lines]
    return [
        entry["cosine"] for line in lines for entry in sorted(line["classes"], key=lambda one: one["name"])
    ]


@pytest.mark.parametrize("name", ["match", "caption", "score", "embed", "classify"])
def test_all_speeds_answer(call, place: Path, tmp_path: Path, name: str) -> None:
    exact, *others = (ask(call, place, tmp_path, name, speed) for speed in ("exact", "fast", "int8"))
    assert len(exact) >= 3
    for numbers in others:
        assert np.abs(np.array(exact) - numbers).max() < 0.05 * max(1.0, np.abs(exact).max())
    assert not ask(call, place, tmp_path, name, "quick")


def test_exact_scores_are_the_models_own(call, place: Path, tmp_path: Path) -> None:
    from pairloom.tasks.judge import judge

    model = pairloom.load(place / "model")
    pictures = [place / "set" / f"{at}.png" for at in range(3)]
    own = judge(model.system, model.batch(pictures, TEXTS))[0]
    said = ask(call, place, tmp_path, "score", "exact")
    torch.testing.assert_close(torch.tensor(said), own.double(), atol=1e-5, rtol=1e-5, check_dtype=False)


def test_match_looks_at_the_picture_once(call, place: Path, tmp_path: Path, monkeypatch) -> None:
    """However many ways it judges in."""
    from pairloom.systems.blip import Towers

    looks, look = [], Towers.look
    monkeypatch.setattr(Towers, "look", lambda self, images: looks.append(len(images)) or look(self, images))
    ask(call, place, tmp_path, "match", "exact")
    assert looks == [1]
