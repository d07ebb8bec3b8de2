"""`pairloom systems` lists every system, also where the library of an extra is missing."""

import json
import sys

import pytest

from pairloom import registry
from pairloom.cli.systems import command


@pytest.mark.parametrize("missing", ["", "diffusers"])
def test_every_system_is_listed(missing, monkeypatch, capsys) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    command(json=True)
    rows = {row["system"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(registry.names("systems"))
    assert {"Embeds", "Matches", "Writes"} <= set(rows["blip"]["verbs"]) and not rows["blip"]["needs"]
    drawing = rows["latent_diffusion"]
    if missing:
        assert "pairloom[diffusion]" in drawing["needs"] and not drawing["verbs"]
    else:
        assert "Draws" in drawing["verbs"] and not drawing["needs"]
