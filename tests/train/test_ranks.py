"""Two processes under torchrun give what one gives on the same batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from PIL import Image
from safetensors.torch import load_file
from small import train

from pairloom.config import override
from pairloom.train.log import read_log
from pairloom.train.settings import Settings

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = str(Path(__file__).with_name("small.py"))
GAN = str(Path(__file__).parent / "toys" / "gan.py")
MAIN = "import torch; torch.set_num_threads(1); from pairloom.cli import main; main()"


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def same(one: Path, two: Path, near: float) -> None:
    """The same losses and the same parameters, to the order of floating sums."""
    first, second = read_log(one / "log.jsonl"), read_log(two / "log.jsonl")
    assert len(first) == len(second) > 0
    for a, b in zip(first, second):
        assert b == pytest.approx(a, abs=near)
    newest = sorted((one / "checkpoints").iterdir())[-1].name
    ours, theirs = (load_file(where / "checkpoints" / newest / "model.safetensors") for where in (one, two))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (value.double() - theirs[name].double()).abs().max() <= near, name


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_small_system(accumulate: int, tmp_path: Path) -> None:
    words = ["lr=0.01", "batch=8", "steps=12", "log_every=1", "save_every=6", f"accumulate={accumulate}"]
    train(tmp_path / "one", override(Settings(), words))
    run([*TORCHRUN, SMALL, str(tmp_path / "two"), "0", *words])
    same(tmp_path / "one", tmp_path / "two", 2e-6)


def test_two_turns(tmp_path: Path) -> None:
    """An adversarial system: each turn averages its own gradients, and what the other moves is left out."""
    words = ["lr=0.01", "batch=8", "steps=8", "log_every=1", "save_every=4", "optimiser=sgd", "accumulate=2"]
    run([sys.executable, GAN, str(tmp_path / "one"), *words])
    run([*TORCHRUN, GAN, str(tmp_path / "two"), *words])
    same(tmp_path / "one", tmp_path / "two", 2e-6)


@pytest.mark.slow
def test_blip(tmp_path: Path) -> None:
    """Contrast with queue and momentum, hard negatives from all processes, captions: each with its own kind of mean."""
    draw = numpy.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for number in range(40):
        pixels = draw.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{number:02d}.png")
        text = " ".join(draw.choice(["red", "blue", "cat", "dog", "on", "a"], draw.integers(2, 8)))
        (tmp_path / "set" / f"{number:02d}.txt").write_text(text)

    def order(out: str) -> list[str]:
        words = [
            "train",
            "blip",
            "--data",
            str(tmp_path / "set"),
            "--out",
            str(tmp_path / out),
            "--preset",
            "tiny",
        ]
        words += ["--held-out", "0.2", "--json", "model.negatives=ranks", "batch=8", "steps=10", "lr=1e-3"]
        return [sys.executable, "-c", MAIN, *words, "log_every=1", "evaluate_every=5", "save_every=5"]

    run(order("one"))
    run([*TORCHRUN, "--no-python", *order("two")])
    same(tmp_path / "one", tmp_path / "two", 1e-5)
    facts = [json.loads((tmp_path / out / "config.json").read_text())["about"] for out in ("one", "two")]
    assert facts[0]["training"] == facts[1]["training"]
