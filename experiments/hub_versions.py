"""Models of a hub with several versions of huggingface_hub: tests/weights/test_hub.py with each of them.

    python -m experiments.hub_versions 0.24.0 1.21.0 2.4.0

Each version is installed into a folder of its own, which only the commands under test see. Exit code 1 where one fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TEST = Path(__file__).parents[1] / "tests" / "weights" / "test_hub.py"


def run(version: str) -> bool:
    """Whether the tests pass with a version of the library."""
    with tempfile.TemporaryDirectory() as folder:
        install = ["install", "--quiet", "--target", folder, f"huggingface_hub=={version}"]
        subprocess.run([sys.executable, "-m", "pip", *install], check=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEST)]
        return subprocess.run(command, env={**os.environ, "HUB_CLIENT": folder}).returncode == 0


def main() -> None:
    passed = {version: run(version) for version in sys.argv[1:] or ["0.24.0", "1.21.0", "2.4.0"]}
    for version, good in passed.items():
        print(f"huggingface_hub {version}: {'passed' if good else 'FAILED'}")
    sys.exit(not all(passed.values()))


if __name__ == "__main__":
    main()
