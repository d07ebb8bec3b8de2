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
    assert set(rows) == {*registry.names("systems"), "ridge"}
    abilities = {name: {one["name"]: one for one in row["abilities"]} for name, row in rows.items()}
    assert list(abilities["blip"]) == ["match", "embed", "caption"] and not rows["blip"]["needs"]
    assert rows["blip"]["can"] == ["match texts with a picture", "embed pictures and texts", "write captions"]
    assert abilities["blip_vqa"]["answer"]["reads"] == "question"
    assert abilities["blip_nlvr"]["reason"]["pictures"] == 2
    assert list(abilities["ridge"]) == ["embed"] and "Saunders et al., 1998" in rows["ridge"]["paper"]
    drawing = rows["latent_diffusion"]
    if missing:
        assert "pairloom[diffusion]" in drawing["needs"] and not drawing["abilities"]
    else:
        assert set(abilities["latent_diffusion"]) == {"denoise", "draw"} and not drawing["needs"]
