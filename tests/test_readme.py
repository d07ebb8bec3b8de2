"""Every block of the README runs. The demo that they stand on is drawn small, and `clean` trains briefly."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines() if line.strip()]


def test_the_result_stands_on_the_first_screen():
    lines = README.splitlines()
    assert any("AUROC" in line for line in lines[:25]) and "make demo" in "\n".join(lines[:10])
    assert "@@" not in README


def test_the_makefile_has_what_the_readme_says():
    made = {line.split()[1] for line in COMMANDS if line.startswith("make ")}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made == {"demo", "test"} and made <= targets
    assert "pairloom demo" in (ROOT / "Makefile").read_text()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished demo, as `make demo` leaves it, but too small for its judge to decide anything: the
    captioner that it would then have trained is a quick one."""
    folder = tmp_path_factory.mktemp("readme")
    run("pairloom demo --pairs 300 --effort 0.05", folder)
    captioner = folder / "pairloom-demo" / "clean" / "models" / "captioner"
    if not captioner.exists():
        settings = "--preset tiny epochs=1 batch=16 model.length=24 model.positions=32"
        run(f"pairloom train blip --data pairloom-demo/raw --out {captioner} {settings}", folder)
    return folder


def run(line: str, folder: Path) -> str:
    words = shlex.split(line, comments=True)
    program = shutil.which("pairloom", path=str(Path(sys.executable).parent))
    assert words[0] == "pairloom" and program, line
    done = subprocess.run(
        [program, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode in ((0, 1) if words[1] == "check" else (0,)), (
        f"{line}\n{done.stdout}\n{done.stderr}"
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_block_runs(place):
    for kind, text in BLOCKS:
        assert kind in ("bash", "python", "text"), kind
        if kind == "bash":
            for line in text.splitlines():
                if line.strip() and not line.startswith("make "):
                    quick = line.partition("#")[0] + (" --effort 0.05" if " clean " in line else "")
                    assert run(quick, place).strip() or "--out" in line, f"{line} says nothing"
        elif kind == "python":
            done = subprocess.run([sys.executable, "-c", text], cwd=place, capture_output=True, text=True)
            assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert (place / "cleaned" / "report.html").stat().st_size > 10_000
    assert (place / "scores.parquet").exists() and (place / "captions.jsonl").exists()
