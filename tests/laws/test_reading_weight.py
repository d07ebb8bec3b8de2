"""Reading weight: how many lines of ours must be read before one system, or one saved model, is understood."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pairloom import registry
from pairloom.data.tokens import Tokens
from pairloom.model import build, save

SYSTEM = 1700  # lines that importing one system may load
ABOVE = {"blip": 1900, "flamingo": 2200}  # these do not keep it yet; they may not grow
FOLDER = 3700  # lines that reading a model folder may load; 3,000 is wanted
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
    assert weight(f"import pairloom.systems.{name}") < ABOVE.get(name, SYSTEM)


def test_reading_a_model_folder(tmp_path: Path) -> None:
    tokens = Tokens.train(["a red ball", "two blue cats"] * 3, 120)
    save(build("blip", tokens, "tiny"), tmp_path)
    assert weight(f"from pairloom.weights import load; load({str(tmp_path)!r})") < FOLDER
