"""Reading weight: how many lines of ours must be read before one system, or one saved model, is understood."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pairloom import registry
from pairloom.data.tokens import Tokens
from pairloom.model import build, save

SYSTEM = 1700  # lines that importing one system may load
FOLDER = 3000  # lines that reading a model folder may load
FRONT_DOOR = 3800  # lines that `pairloom.load` of a model folder may load: the tasks are loaded when they are asked for
COUNT = """
import sys
{run}
files = {{getattr(module, "__file__", None) for name, module in sys.modules.items() if name.split(".")[0] == "pairloom"}}
print("LINES", sum(len(open(file, encoding="utf-8").readlines()) for file in files if file))
"""


def weight(run: str) -> int:
    """Lines of pairloom's modules that are loaded once `run` is done, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", COUNT.format(run=run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit("LINES", 1)[1])


@pytest.mark.parametrize("name", registry.names("systems"))
def test_importing_a_system(name: str) -> None:
    assert weight(f"import pairloom.systems.{name}") < SYSTEM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    where = tmp_path_factory.mktemp("weight") / "model"
    save(build("blip", Tokens.train(["a red ball", "two blue cats"] * 3, 120), "tiny"), where)
    return str(where)


def test_reading_a_model_folder(folder: str) -> None:
    assert weight(f"from pairloom.weights import load; load({folder!r})") < FOLDER


def test_the_front_door_loads_no_task(folder: str) -> None:
    assert weight(f"import pairloom; pairloom.load({folder!r})") < FRONT_DOOR
