"""Commands are tried in this process; the small sets and the exact judge are those of tests/clean."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clean"))


@pytest.fixture()
def call(monkeypatch, capsys):
    """call("clean", ...) -> exit code, standard output, standard error."""
    from pairloom.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pairloom", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return int(stop.value.code or 0), found.out, found.err

    return run
