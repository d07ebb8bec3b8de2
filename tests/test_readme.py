"""The first screen of the README, and what it says of make. That its blocks run, tests/test_docs.py tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```([^\n]+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_example_is_python_beside_the_command_line_in_five_lines_each() -> None:
    (first, python), (second, bash) = BLOCKS[:2]
    assert (first, second) == ("python", "bash")
    assert len(python.splitlines()) == len(bash.splitlines()) == 5


def test_the_result_stands_on_the_first_screen() -> None:
    assert any("AUROC" in line for line in README.splitlines()[:20])
    assert "make demo" in "\n".join(README.splitlines()[:10]) and "@@" not in README


def test_the_makefile_has_what_the_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for info, text in BLOCKS if info == "bash parse" for line in text.splitlines()]
    assert {line.split()[1] for line in lines} == {"demo", "test"}
    assert "pairloom demo" in makefile and re.search("^demo:", makefile, re.MULTILINE)


def test_the_console_script_is_installed() -> None:
    script = shutil.which("pairloom", path=str(Path(sys.executable).parent))
    assert script, "pip install -e . writes it"
    done = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("pairloom "), done.stderr
