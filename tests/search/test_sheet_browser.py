"""The contact sheet in a browser: it shows its pictures, complains of nothing, asks for nothing, in both colour schemes."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest

from pairloom.data.shards import open_set
from pairloom.search.filling import fill
from pairloom.search.index import Index
from pairloom.search.sheet import write_sheet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (chromium.CHROMIUM and chromium.DRIVER), reason="no Chromium on this machine"),
]
BACKGROUND = "return getComputedStyle(document.body).backgroundColor"
LOADED = (
    "return Array.from(document.images).filter((image) => image.complete && image.naturalWidth === 32).length"
)
WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_the_sheet(pairs, model, tmp_path: Path) -> None:
    fill(open_set(pairs), model, "eye", tmp_path / "index", workers=1)
    index = Index(tmp_path / "index", model)
    sheets = {name: tmp_path / f"{name}.html" for name in ("red", "purple")}
    for name, sheet in sheets.items():
        write_sheet(sheet, index.search(f"a {name} wall", top=4), index.bytes_of)
    window = chromium.Chromium(tmp_path / "chromium")
    try:
        grounds = []
        for colours in ("light", "dark"):
            window.open(sheets["red"], colours)
            assert window.run(LOADED) == 4 and window.complaints() == []
            grounds.append(window.run(BACKGROUND))
        assert grounds[0] != grounds[1]
        window.requests()
        window.open(sheets["purple"])
        assert window.words("h1") == ["a purple wall"]
        assert window.words(".sum") == ["No good match among 84 pictures"]
        assert len(window.words("li.low")) == 4
        assert all(asked.startswith(("file:", "data:")) for asked in window.requests())
        for width in (320, 1400):
            window.size(width, 700)
            assert window.run(WIDE) == 0
    finally:
        window.close()
