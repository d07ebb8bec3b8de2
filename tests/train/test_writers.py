"""Writers on the one loop: a published encoder to start from, frozen then tuned, and learning by reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import pairloom
from pairloom.blocks.encoder import Encoder
from pairloom.cli import train as command
from pairloom.errors import Mistake
from pairloom.weights import torchvision

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200), "yellow": (220, 210, 30)}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    for number in range(24):
        name = list(COLOURS)[number % 4]
        Image.new("RGB", (40, 40), COLOURS[name]).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a {name} picture number {number}")
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    network = Encoder("resnet50", frozen=False).network
    state = network.state_dict()
    file = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save({place.names[0]: state[ours] for ours, place in torchvision.places("resnet50", network)}, file)
    return file


def train(system: str, pairs: Path, out: Path, *words: str) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(command.command)
    told = [system, "--data", str(pairs), "--out", str(out), "--held-out", "0.25", "--workers", "0", "--json"]
    done = CliRunner().invoke(app, [*told, "batch=6", "lr=1e-3", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.mark.slow
def test_frozen_then_tuned(pairs: Path, published: Path, tmp_path: Path) -> None:
    """The published recipe: with the encoder as it came, then all of it, from where the first part ended."""
    small = ["model.encoder=resnet50", "model.image_size=32", "model.width=16", "steps=2"]
    train("show_and_tell", pairs, tmp_path / "one", "--init", f"encoder={published}", *small)
    one = pairloom.load(tmp_path / "one")
    theirs = torch.load(published, weights_only=True)
    assert torch.equal(
        one.system.state_dict()["encoder.network.4.0.conv_1.weight"], theirs["layer4.0.conv1.weight"]
    )
    assert one.pixels.mean == (0.485, 0.456, 0.406) and one.about["encoder"] == "resnet50.pth"
    train(
        "show_and_tell",
        pairs,
        tmp_path / "two",
        "--init",
        str(tmp_path / "one"),
        "model.tune=true",
        "steps=2",
    )
    two = pairloom.load(tmp_path / "two")
    before, after = (model.system.state_dict()["encoder.network.4.0.conv_1.weight"] for model in (one, two))
    assert 0 < float((before - after).abs().max()) < 0.1 and two.pixels == one.pixels


def test_another_network_is_a_mistake(pairs: Path, published: Path, tmp_path: Path) -> None:
    for words, match in (
        (["--init", f"encoder={published}", "model.encoder=vgg16"], "is not a vgg16"),
        (["--init", f"encder={published}"], "a part 'encder'"),
        (["--init", f"encoder={tmp_path / 'nothing.pth'}", "model.encoder=vgg16"], "There is nothing at"),
    ):
        with pytest.raises(Mistake, match=match):
            train("show_attend_tell", pairs, tmp_path / "out", "model.image_size=32", *words)


@pytest.mark.parametrize("system", ["show_and_tell", "show_attend_tell"])
def test_first_from_texts_then_by_reward(system: str, pairs: Path, tmp_path: Path) -> None:
    """Self-critical training begins with a writer that was taught (Rennie et al., 2017, section 5)."""
    train(
        system, pairs, tmp_path / "one", "--preset", "tiny", "steps=2", "model.sampling=0.5", "model.ramp=1"
    )
    told = train(
        system,
        pairs,
        tmp_path / "two",
        "--init",
        str(tmp_path / "one"),
        "reward=cider",
        "steps=3",
        "save_every=2",
    )
    assert "losses/self-critical" in (tmp_path / "two" / "log.jsonl").read_text()
    assert told["held out/caption"] > 0  # what is held out is measured on its texts
    assert torch.isfinite(pairloom.load(tmp_path / "two").system.words.weight).all()
    again = train(
        system,
        pairs,
        tmp_path / "two",
        "--init",
        str(tmp_path / "one"),
        "reward=cider",
        "steps=3",
        "save_every=2",
    )
    assert again["resumed"] == 3
    with pytest.raises(Mistake, match="reward"):
        train(system, pairs, tmp_path / "two", "--init", str(tmp_path / "one"), "steps=3", "save_every=2")


def test_what_does_not_write_cannot_be_rewarded(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="cannot learn by a reward"):
        train("clip", pairs, tmp_path / "out", "--preset", "tiny", "reward=cider", "steps=2")
