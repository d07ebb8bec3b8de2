"""Reading weight: how many lines of ours must be read before one system, or one saved model, is understood."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pairloom import registry

SYSTEM = 1700  # lines that importing one system may load
FOLDER = 3000  # lines that loading a model folder may load
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


@pytest.mark.parametrize("name", ["blip", "clip", "show_attend_tell"])
def test_loading_a_model_folder(name: str, tmp_path: Path) -> None:
    """The heaviest, the plainest, and one of another family."""
    from pairloom.data.tokens import Tokens
    from pairloom.model import build, save

    tokens = Tokens.train(["a red ball", "two blue cats"], 40)
    save(build(name, tokens, "tiny"), tmp_path)
    assert weight(f"import pairloom; pairloom.load({str(tmp_path)!r})") < FOLDER
