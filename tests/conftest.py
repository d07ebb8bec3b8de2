"""Shared ground of the tests: one thread, no network, the real sets where they lie beside the checkout."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PAIRLOOM_CACHE" not in os.environ:  # what tests measure of a busy machine is not kept for its user
    os.environ["PAIRLOOM_CACHE"] = tempfile.mkdtemp(prefix="pairloom-cache-")
    atexit.register(shutil.rmtree, os.environ["PAIRLOOM_CACHE"], ignore_errors=True)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sets; the test skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real sets (../shared/data) are not on this machine")
    return folder
