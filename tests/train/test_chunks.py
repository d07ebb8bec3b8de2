"""Embedding in chunks: the gradient of the whole batch, with the same dropout, and nothing kept that grows with it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import load_file
from test_ranks import MAIN, TORCHRUN, run
from torch import Tensor
from typer.testing import CliRunner

from pairloom import registry
from pairloom.cli import train as command
from pairloom.data.batch import Batch, Texts
from pairloom.data.loader import InMemoryImages, TextTable, pair_loader
from pairloom.errors import Mistake
from pairloom.train.chunks import demand_chunks, losses_in_chunks
from pairloom.train.log import read_log
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.verbs import Compares

ROWS = 10
# What the order of sums may change in float64: a few thousand terms, rounded by 1e-16 each, even if all errors add up and
# a badly conditioned loss makes them a thousand times larger. A term that is missing or wrong changes far more.
SUMS = 4096 * 1000 * torch.finfo(torch.float64).eps
ALONE = dict(itm=0.0, lm=0.0, queue=0, momentum=0.0)
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("clip", {}),
    "coca": ("coca", {"lm": 0.0}),
    "blip": ("blip", ALONE),
    "blip with a bag": ("blip", {**ALONE, "bag": True, "itc": 0.5}),
}


def made(name: str, **more: Any) -> Any:
    system, settings = MADE[name]
    module = registry.find("systems", system)
    torch.manual_seed(0)
    return module.System(replace(module.TINY, **settings, **more)).train()


def pairs(config: Any, texts: int = ROWS) -> Batch:
    """Ten pictures; more texts than those, where asked for, belong to them in turn."""
    draw = torch.Generator().manual_seed(1)
    keep = torch.arange(9) < torch.randint(3, 10, (texts, 1), generator=draw)
    tokens = torch.randint(5, 60, (texts, 9), generator=draw)
    tokens[:, 0] = config.cls
    tokens[torch.arange(texts), keep.sum(1) - 1] = config.sep
    images = torch.randn(ROWS, 1, 3, 32, 32, generator=draw)
    owner = torch.arange(texts) % ROWS if texts > ROWS else None
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, config.pad), keep), image_of=owner)


def wide(system: Any, texts: int = ROWS) -> tuple[Any, Batch]:
    """The system and its batch in float64."""
    batch = pairs(system.config, texts)
    return system.double(), replace(batch, images=batch.images.double())


def gradients(system: Any, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    system.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    return {name: one.grad.clone() for name, one in system.named_parameters() if one.grad is not None}


def far(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Distance of two gradients, relative to the first."""
    assert one.keys() == other.keys() and one
    total = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    return (total / sum(float(value.double().square().sum()) for value in one.values())) ** 0.5


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(("chunk", "texts"), [(2, ROWS), (4, ROWS), (3, 2 * ROWS), (64, ROWS)])
def test_the_gradient_is_that_of_the_whole_batch(name: str, chunk: int, texts: int) -> None:
    system, batch = wide(made(name), texts)
    losses = system.losses(batch)
    whole = gradients(system, losses)
    torch.testing.assert_close(losses_in_chunks(system, batch, chunk), losses, rtol=SUMS, atol=0)
    assert far(whole, gradients(system, losses_in_chunks(system, batch, chunk))) < SUMS


def test_dropout_is_the_same_in_both_passes() -> None:
    """Beside the same chunks, embedded once with everything kept: random states that differed would show."""
    system, batch = wide(made("blip", dropout=0.4))
    torch.manual_seed(5)
    parts = gradients(system, losses_in_chunks(system, batch, 4))
    torch.manual_seed(5)
    images = torch.cat([system.embed_image(Batch(images=part)) for part in batch.images.split(4)])
    texts = torch.cat(
        [
            system.embed_text(Batch(texts=Texts(tokens, keep)))
            for tokens, keep in zip(batch.texts.ids.split(4), batch.texts.mask.split(4))
        ]
    )
    kept = gradients(system, system.compare(batch, images, texts))
    assert far(kept, parts) < SUMS
    torch.manual_seed(6)
    assert far(kept, gradients(system, losses_in_chunks(system, batch, 4))) > 0.1


def test_it_goes_with_autocast_and_recomputed_layers() -> None:
    system = made("clip")
    batch = pairs(system.config)
    with torch.autocast("cpu", torch.bfloat16):
        whole = gradients(system, system.losses(batch))
        parts = gradients(system, losses_in_chunks(system, batch, 5))
    assert far(whole, parts) < 8 * torch.finfo(torch.bfloat16).eps
    system, batch = wide(system)
    plain = gradients(system, losses_in_chunks(system, batch, 5))
    system.image.stack.recompute = len(system.image.stack.layers)
    assert far(plain, gradients(system, losses_in_chunks(system, batch, 5))) < SUMS


def test_what_is_kept_does_not_grow_with_the_depth_of_the_towers() -> None:
    """Bytes that autograd holds between the passes: hardly more than the pictures themselves."""

    def held(depth: int, chunk: int) -> int:
        system = made("clip", image_depth=depth, depth=depth)
        batch = pairs(system.config)
        seen: dict[int, int] = {}

        def pack(value: Tensor) -> Tensor:
            seen[value.data_ptr()] = value.nbytes
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            losses = losses_in_chunks(system, batch, chunk) if chunk else system.losses(batch)
        gradients(system, losses)
        return sum(seen.values())

    assert held(4, 2) == held(1, 2) < held(1, 0) / 5
    assert held(4, 0) > 2 * held(1, 0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("blip", {}), ("blip", {"itm": 0.0, "lm": 0.0}), ("coca", {}), ("flamingo", {}), ("show_and_tell", {})],
)
def test_other_losses_are_refused(name: str, settings: dict[str, float]) -> None:
    module = registry.find("systems", name)
    system = module.System(replace(module.TINY, **settings))
    demand_chunks(system, 0)
    with pytest.raises(Mistake, match="chunk=4 does not fit"):
        demand_chunks(system, 4)


def test_systems_say_so_truly() -> None:
    """Where `compares` is true, losses are compare of the embeddings."""
    for name in MADE:
        system = made(name).eval()
        assert isinstance(system, Compares) and system.compares
        batch = pairs(system.config)
        with torch.no_grad():
            told = system.compare(batch, system.embed_image(batch), system.embed_text(batch))
            assert told == system.losses(batch)


def test_a_run_in_chunks_is_the_run() -> None:
    draw = numpy.random.default_rng(3)
    config = made("clip").config
    pixels = draw.integers(0, 256, (24, 32, 32, 3), dtype=numpy.uint8)
    batch = pairs(config, 24)
    loader = pair_loader(
        InMemoryImages(pixels), TextTable.from_ids(batch.texts.ids, batch.texts.mask, config.pad)
    )
    lines = []
    for chunk in (0, 5):
        settings = Settings(batch=12, steps=6, lr=1e-3, chunk=chunk, log_every=1, warmup=1)
        lines.append(fit(made("clip"), loader, settings).lines)
    for whole, parts in zip(*lines):
        assert parts == pytest.approx(whole, rel=1e-4)
    with pytest.raises(ValueError, match="chunk must not be negative"):
        Settings(chunk=-1)


@pytest.fixture(scope="module")
def folder_of_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = numpy.random.default_rng(0)
    out = tmp_path_factory.mktemp("set")
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (32, 40, 3), dtype=numpy.uint8)).save(out / f"{number:02d}.png")
        text = " ".join(draw.choice(["red", "blue", "cat", "dog", "on", "a"], draw.integers(2, 8)))
        (out / f"{number:02d}.txt").write_text(text)
    return out


def order(system: str, data: Path, out: Path, *words: str) -> list[str]:
    told = ["train", system, "--data", str(data), "--out", str(out), "--preset", "tiny", "--held-out", "0.2"]
    return [*told, "--json", "batch=8", "steps=6", "lr=1e-3", "log_every=1", "save_every=3", *words]


def test_from_the_command_line(folder_of_pairs: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command.command)
    losses = []
    for chunk in (0, 3):
        words = order("clip", folder_of_pairs, tmp_path / str(chunk), f"chunk={chunk}")[1:]
        losses.append(json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    with pytest.raises(Mistake, match="chunk=3 does not fit"):
        words = order("blip", folder_of_pairs, tmp_path / "blip", "chunk=3")[1:]
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not (tmp_path / "blip" / "run.json").exists()


@pytest.mark.slow
def test_two_processes_in_chunks_are_one_whole(folder_of_pairs: Path, tmp_path: Path) -> None:
    """Gathered with gradient: each process embeds its half in chunks, and both compare all rows."""
    run([sys.executable, "-c", MAIN, *order("clip", folder_of_pairs, tmp_path / "one")])
    words = order("clip", folder_of_pairs, tmp_path / "two", "chunk=3")
    run([*TORCHRUN, "--no-python", sys.executable, "-c", MAIN, *words])
    lines = [read_log(tmp_path / out / "log.jsonl") for out in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) > 6
    for a, b in zip(*lines):
        assert b == pytest.approx(a, rel=1e-5)
    # not each by itself: of a gradient that is nothing but rounding Adam makes a step
    assert far(*(load_file(tmp_path / out / "model.safetensors") for out in ("one", "two"))) < 1e-4
