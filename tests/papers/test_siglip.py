"""SigLIP (Zhai et al., 2023), which is a `clip` with other encoders and another loss: what the paper says, the laws of systems, and
training by the command's own request."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pairloom.config import override
from pairloom.config_json import from_dict, to_dict
from pairloom.errors import Mistake
from pairloom.systems.clip import PRESETS, Config, System, example
from pairloom.train.order import TrainRequest
from pairloom.train.run import train
from pairloom.world import World, write_folder
from tests.laws import test_systems as laws

SIGLIP = PRESETS["tiny-SigLIP"]


@pytest.fixture(scope="module")
def system() -> System:
    torch.manual_seed(0)
    system = System(SIGLIP).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


def test_sizes() -> None:
    """Millions of parameters of the released models, in the authors' repository: B/16 203, SO400M/14 877."""
    for name, millions in (("SigLIP-B-16", 203), ("SigLIP-SO400M-14", 877)):
        with torch.device("meta"):
            count = sum(value.numel() for value in System(PRESETS[name]).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=1), name


def test_the_start() -> None:
    """ "t' to log 10 and b to -10" (section 3.2); there is no limit for the scale."""
    system, batch = System(SIGLIP), example(SIGLIP, torch.Generator().manual_seed(0))
    assert system.scale.item() == pytest.approx(math.log(10)) and system.bias.item() == -10
    with torch.no_grad():
        system.scale.fill_(6.0)
        system.losses(batch)
    assert system.scale.item() == 6.0


def test_padding_is_seen_and_is_always_the_same(system: System) -> None:
    batch = example(SIGLIP, torch.Generator().manual_seed(1))
    laws.same(laws.answers(system, batch), laws.answers(system, laws.scribbled(batch)))
    laws.same(laws.all_losses(system, batch), laws.all_losses(system, laws.scribbled(batch)))
    other = System(replace(SIGLIP, pad=9)).eval()
    other.load_state_dict(system.state_dict())
    with torch.no_grad():
        assert (other.embed_text(batch) - system.embed_text(batch)).abs().max() > 1e-3


def test_neighbours_do_not_leak_and_everything_learns(system: System) -> None:
    batch = example(SIGLIP, torch.Generator().manual_seed(1))
    whole, part = laws.answers(system, batch), laws.answers(system, laws.rows(batch, [1, 4]))
    laws.same({name: values[[1, 4]] for name, values in whole.items()}, part)
    torch.manual_seed(0)
    fresh = System(SIGLIP)
    before = {name: value.clone() for name, value in fresh.named_parameters()}
    losses = laws.train(fresh, batch, 40)
    assert not [name for name, value in fresh.named_parameters() if torch.equal(value, before[name])]
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_every_preset_is_written_and_read() -> None:
    for name, config in PRESETS.items():
        assert from_dict(Config, to_dict(config)) == config, name
    changed = override(SIGLIP, ["vision.patch=16", "text.text_pool=first"])
    assert (changed.vision.patch, changed.text.text_pool) == (16, "first")
    assert override(SIGLIP, ["vision=none"]).vision is None
    with pytest.raises(Mistake, match="group of settings"):
        override(Config(), ["vision=vit"])


def test_it_learns_the_drawn_world(tmp_path: Path) -> None:
    """By the command's own words, `train clip loss=sigmoid`: a caption ranks its own picture of 72 better than chance does, whose
    mean rank of 35.5 has a standard error of 2.4."""
    import pairloom

    write_folder(World(72, 0, "simple", 32, ("terse",)), tmp_path / "set")
    settings = ("batch=20", "steps=45", "lr=3e-3", "warmup=5", "log_every=15", "threads=1", "loss=sigmoid")
    request = TrainRequest("clip", tmp_path / "set", tmp_path / "out", settings, "tiny", held_out=1 / 6)
    train(request)
    model = pairloom.load(tmp_path / "out")
    assert model.config.loss == "sigmoid" and model.system.bias.item() != -10
    files = sorted((tmp_path / "set").glob("*.jpg"))
    batch = model.batch(images=files, texts=[file.with_suffix(".txt").read_text() for file in files])
    with torch.no_grad():
        scores = model.system.embed_text(batch) @ model.system.embed_image(batch).T
    ranks = (scores > scores.diagonal()[:, None]).sum(1)
    assert ranks.float().mean() < 26
