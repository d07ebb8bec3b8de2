"""Classify: the 80 prompts, ensembles in the space of embeddings, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pairloom import registry
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.tasks.classify import TEMPLATES, class_embeddings, classify, templates

NAMES = ["red square", "blue dog", "cat"]


@pytest.fixture(scope="module")
def model() -> Model:
    return build(
        "clip", Tokens.train(["a photo of a red square and a blue dog", "the toy cat"] * 4, 100), "tiny"
    ).eval()


def test_the_80_prompts_of_imagenet() -> None:
    prompts = TEMPLATES["imagenet"]
    assert len(set(prompts)) == 80 and all(prompt.count("{}") == 1 for prompt in prompts)
    for known in (
        "itap of my {}.",
        "a bad photo of the {}.",
        "art of a {}.",
        "the {} in a video game.",
        "a photo of many {}.",
    ):
        assert known in prompts
    assert templates("a sketch of my {}") == ("a sketch of my {}",)
    with pytest.raises(Mistake, match="Did you mean 'imagenet'"):
        templates("imagnet")


@torch.no_grad()
def test_an_ensemble_is_a_mean_in_the_space_of_embeddings(model: Model) -> None:
    """ "we construct the ensemble over the embedding space instead of probability space"."""
    prompts = ("a photo of a {}.", "the {}", "{}")
    found = class_embeddings(model, NAMES, prompts, rows=4)
    for row, name in enumerate(NAMES):
        each = model.system.embed_text(model.batch(texts=[prompt.format(name) for prompt in prompts]))
        torch.testing.assert_close(found[row], F.normalize(each.mean(0), dim=-1), atol=1e-6, rtol=1e-5)
    assert float(found[0] @ found[1]) < 0.9999


@torch.no_grad()
def test_shares_are_a_softmax_of_cosines(model: Model) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    space = class_embeddings(model, NAMES, TEMPLATES["photo"])
    cosines, shares = classify(model, images, space, 0.05)
    assert cosines.shape == shares.shape == (4, 3) and float(cosines.abs().max()) <= 1 + 1e-6
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    odds = (shares[:, 0] / shares[:, 1]).log() * 0.05
    torch.testing.assert_close(odds, cosines[:, 0] - cosines[:, 1], atol=1e-5, rtol=1e-4)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    where = tmp_path / "pictures"
    where.mkdir()
    draw = numpy.random.default_rng(0)
    for at in range(3):
        Image.fromarray(draw.integers(0, 256, (40, 30, 3), dtype=numpy.uint8)).save(where / f"{at}.png")
        (where / f"{at}.txt").write_text("x")
    (where / "2.png").write_bytes(b"no picture")
    return where


def test_the_command_answers_and_goes_on(model: Model, tmp_path: Path, pictures: Path) -> None:
    command = registry.find("cli", "classify").command
    where, out = save(model, tmp_path / "model"), tmp_path / "out.jsonl"
    (tmp_path / "names.txt").write_text("\n".join([*NAMES, NAMES[0], ""]))
    command(pictures, where, str(tmp_path / "names.txt"), out, top=2)
    lines = {line["name"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert len(lines) == 3 and sum("problem" in line for line in lines.values()) == 1
    space = class_embeddings(model, NAMES, TEMPLATES["photo"])
    cosines, _ = classify(model, model.pictures([pictures / "0.png"]), space)
    found = next(line for name, line in lines.items() if name.startswith("0"))["classes"]
    assert [entry["name"] for entry in found] == [NAMES[at] for at in cosines[0].topk(2).indices]
    assert found[0]["cosine"] == pytest.approx(float(cosines.max()), abs=1e-5)
    whole = out.read_bytes()
    out.write_bytes(whole[: whole.index(b"\n") + 9])  # cut in the second line, as a kill would
    command(pictures, where, ",".join(NAMES), out, top=2)
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["name"] for line in again] == list(lines)
    for line in again:  # alone in its batch, a picture comes out as near as sums over other batches do
        assert line.get("problem") == lines[line["name"]].get("problem")
        for entry, before in zip(line["classes"], lines[line["name"]]["classes"], strict=True):
            assert entry["name"] == before["name"] and entry["share"] == pytest.approx(
                before["share"], abs=1e-5
            )


def test_the_command_refuses_what_cannot_be(model: Model, tmp_path: Path, pictures: Path) -> None:
    command = registry.find("cli", "classify").command
    where, other = save(model, tmp_path / "model"), tmp_path / "captions.jsonl"
    other.write_text('{"name": "0", "captions": []}\n')
    with pytest.raises(Mistake, match="something else than classes"):
        command(pictures, where, "a,b", other, restart=True)
    assert other.exists()
    with pytest.raises(Mistake, match="nothing to choose between"):
        command(pictures, where, "cat")
    blind = build("blip", Tokens.train(["a cat"] * 9, 64), "tiny", ["itc=0"])
    with pytest.raises(Mistake, match="cannot embed"):
        command(pictures, save(replace(blind), tmp_path / "blind"), "a,b")
