"""The small set and the model that sees its colours."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "clean")]
import colours  # noqa: E402
from eyes import NAMES, eye  # noqa: E402

from pairloom.model import Model  # noqa: E402


@pytest.fixture(scope="session")
def model() -> Model:
    return eye()


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """96 pictures, 12 of each colour but purple, texts right."""
    where = tmp_path_factory.mktemp("set") / "pairs"
    where.mkdir()
    kinds = [(colour, pattern) for colour in NAMES if colour != "purple" for pattern in colours.PATTERNS]
    for at in range(84):
        kind = kinds[at % len(kinds)]
        (where / f"{at:03d}.png").write_bytes(colours.picture(*kind, seed=at))
        (where / f"{at:03d}.txt").write_text(colours.said(*kind))
    return where
