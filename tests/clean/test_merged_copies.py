"""clean --merge-copies: the best of copied pictures takes over their texts, and nothing else changes."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps
from scenes import photo

import pairloom
from pairloom.data.shards import open_set, save_set


def put(folder: Path, name: str, image: Image.Image, *texts: str, **more: int) -> None:
    image.save(folder / name, **more)
    (folder / name).with_suffix(".txt").write_text("\n".join(texts))


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Three shards: a photo in three sizes, a mirrored one, one twice with one text, and single ones."""
    folder = tmp_path_factory.mktemp("copies")
    large = photo(1, (300, 220))
    put(folder, "a-small.jpg", large.resize((150, 110)), "a red barn by the road")
    put(folder, "b-large.png", large, "an old barn in Kansas")
    put(folder, "c-poor.jpg", large, "A red barn by the road", quality=30)
    put(folder, "d-mirrored.jpg", ImageOps.mirror(large), "a barn to the left of a road")
    for name in ("e.jpg", "f.jpg"):
        put(folder, name, photo(2), "a field at noon")
    for number in range(3, 8):
        put(folder, f"g{number}.jpg", photo(number), f"a harbour with {number} boats")
    return save_set(list(open_set(folder).pairs()), folder.parent / "tars", "webdataset", size=4).path


def texts_of(folder: Path) -> dict[str, list[str]]:
    return {Path(pair.name).stem: [text.text for text in pair.texts] for pair in open_set(folder).pairs()}


def test_the_best_picture_takes_over_the_texts_of_its_copies(raw: Path, tmp_path: Path) -> None:
    result = pairloom.open(raw).clean(tmp_path / "out", captions=False, workers=1, merge_copies=True)
    before, after = texts_of(raw), texts_of(result.pairs)
    assert after.pop("b-large") == ["an old barn in Kansas", "a red barn by the road"]
    assert {name: texts for name, texts in before.items() if name in after} == after
    assert before.keys() - after.keys() == {"a-small", "b-large", "c-poor", "f"}
    rows = pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    reasons = {Path(row["name"]).stem: row["reason"] for row in rows if row["decision"] == "drop"}
    assert set(reasons) == {"a-small", "c-poor", "f"}
    assert all("taken over" in reasons[name] for name in ("a-small", "c-poor"))
    assert "same picture with the same text" in reasons["f"].lower()


def test_workers_write_the_same_and_the_default_changes_nothing(raw: Path, tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        pairloom.open(raw).clean(out, captions=False, workers=workers, merge_copies=True)
        tables.append((out / "pairs.parquet").read_bytes())
    assert tables[0] == tables[1]
    result = pairloom.open(raw).clean(tmp_path / "plain", captions=False, workers=1)
    assert texts_of(result.pairs) == {name: texts for name, texts in texts_of(raw).items() if name != "f"}
