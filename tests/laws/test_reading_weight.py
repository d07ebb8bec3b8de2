"""Reading weight: how many lines of ours must be read before one system, or one saved model, is understood."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pairloom import registry
from pairloom.data.tokens import Tokens
from pairloom.model import build, save

SYSTEM = 1700  # lines that importing one system may load
FOLDER = 3000  # lines that reading a model folder may load
FRONT_DOOR = 3800  # lines that `pairloom.load` of a model folder may load: the tasks are loaded when they are asked for
COUNT = """
import json, os, sys
import torch, numpy  # what every run needs, imported once; each run is then a fork, with none of our modules in it
for run in json.loads(sys.argv[1]):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            exec(run)
            modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "pairloom"}
            files = {getattr(module, "__file__", None) for module in modules.values()}
            print(sum(len(open(file, encoding="utf-8").readlines()) for file in files if file), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


def weights(runs: list[str]) -> list[int]:
    """Lines of pairloom's modules that are loaded once each of `runs` is done, in a process of its own."""
    command = [sys.executable, "-c", COUNT, json.dumps(runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert len(lines) == len(runs), done.stderr
    return lines


@pytest.fixture(scope="module")
def systems() -> dict[str, int]:
    names = registry.names("systems")
    return dict(zip(names, weights([f"import pairloom.systems.{name}" for name in names]), strict=True))


@pytest.mark.parametrize("name", registry.names("systems"))
def test_importing_a_system(systems: dict[str, int], name: str) -> None:
    assert 0 < systems[name] < SYSTEM


def test_reading_a_model_folder_and_the_front_door(tmp_path: Path) -> None:
    """The front door loads no task."""
    where = str(tmp_path / "model")
    save(build("blip", Tokens.train(["a red ball", "two blue cats"] * 3, 120), "tiny"), where)
    folder, door = weights(
        [f"from pairloom.weights import load; load({where!r})", f"import pairloom; pairloom.load({where!r})"]
    )
    assert 0 < folder < FOLDER and 0 < door < FRONT_DOOR
