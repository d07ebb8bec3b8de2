"""Arrow files, and the folders of them that `datasets` saves."""

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather

import pairloom
from pairloom.data.formats import _columnar
from pairloom.data.pair import Pair
from pairloom.data.shards import find, open_set, read
from pairloom.errors import Mistake


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


FEATURES = {"image": {"_type": "Image"}, "caption": {"dtype": "string", "_type": "Value"},
            "label": {"names": ["a", "b"], "_type": "ClassLabel"}}  # fmt: skip
SCHEMA = pa.schema(
    [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("caption", pa.string()), ("label", pa.int64())],
    {"huggingface": json.dumps({"info": {"features": FEATURES}})},
)  # fmt: skip


def stream(path: Path, numbers: range, batch: int = 4) -> None:
    """Rows as `datasets` saves them: a stream of small batches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "image": {"bytes": png(n), "path": f"{n}.png"},
            "caption": f"a dog {n} on a beach",
            "label": n % 2,
        }
        for n in numbers
    ]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        for start in range(0, len(rows), batch):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + batch], SCHEMA))


def saved(folder: Path, *parts: range) -> None:
    """A folder as save_to_disk of datasets 5.2.0 leaves it."""
    names = [f"data-{at:05d}-of-{len(parts):05d}.arrow" for at in range(len(parts))]
    for name, part in zip(names, parts):
        stream(folder / name, part)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "dc56f1bdc10ebee1", "_format_columns": None,
             "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": None}  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"citation": "", "features": FEATURES}))


def texts(pairs: list[Pair]) -> list[str]:
    return [text.text for pair in pairs for text in pair.texts]


def wanted(*numbers: int) -> list[str]:
    return [f"a dog {n} on a beach" for n in numbers]


def written(path: Path, out: Path) -> Path:
    """The set written shard by shard, as `clean` writes it."""
    pairs, module = open_set(path), find("table")
    for shard in pairs.shards:
        module.write(out, shard.name, read(shard), shard)
    module.finish(out, [shard.name for shard in pairs.shards])
    return out


def test_a_saved_folder_is_read_without_its_caches_and_written_again(tmp_path: Path) -> None:
    saved(tmp_path / "in", range(5), range(5, 9))
    stream(tmp_path / "in" / "cache-839ae7ca817c0f89.arrow", range(9))  # of map or filter
    pairs = pairloom.open(tmp_path / "in")
    assert pairs.format == "table" and not pairs.notes
    assert texts(list(pairs)) == wanted(*range(9))
    assert [pair.meta for pair in pairs] == [{"label": n % 2} for n in range(9)]
    assert [pair.image.read() for pair in pairs] == [png(n) for n in range(9)]
    out = written(tmp_path / "in", tmp_path / "out")
    for name in ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"):
        before, after = (
            pa.ipc.open_stream((folder / name).read_bytes()).read_all() for folder in (tmp_path / "in", out)
        )
        assert after.schema.equals(SCHEMA, check_metadata=True) and after.to_pylist() == before.to_pylist()  # fmt: skip
    state = json.loads((out / "state.json").read_text())
    assert state.keys() == json.loads((tmp_path / "in" / "state.json").read_text()).keys()
    assert [entry["filename"] for entry in state["_data_files"]] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]  # fmt: skip


def test_splits_of_a_saved_dictionary(tmp_path: Path) -> None:
    for split, numbers in (("train", range(3)), ("test", range(3, 5))):
        saved(tmp_path / "in" / split, numbers)
    (tmp_path / "in" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    pairs = pairloom.open(tmp_path / "in")
    assert sorted(texts(list(pairs))) == wanted(*range(5)) and not pairs.notes
    out = written(tmp_path / "in", tmp_path / "out")
    assert sorted(json.loads((out / "dataset_dict.json").read_text())["splits"]) == ["test", "train"]
    assert (out / "train" / "state.json").is_file() and texts(list(pairloom.open(out / "train"))) == wanted(
        0, 1, 2
    )


def test_a_part_that_is_not_there_is_told(tmp_path: Path) -> None:
    saved(tmp_path, range(2), range(2, 4))
    (tmp_path / "data-00001-of-00002.arrow").unlink()
    pairs = pairloom.open(tmp_path)
    assert texts(list(pairs)) == wanted(0, 1)
    assert pairs.notes == ("data-00001-of-00002.arrow is not there, though state.json names it.",)


def test_bare_arrow_and_feather_files(tmp_path: Path) -> None:
    stream(tmp_path / "a.arrow", range(3))
    (tmp_path / "dataset_info.json").write_text("{}")  # as in the cache of datasets
    assert not pairloom.open(tmp_path).notes
    assert texts(list(pairloom.open(tmp_path / "a.arrow"))) == wanted(0, 1, 2)
    table = pa.ipc.open_stream((tmp_path / "a.arrow").read_bytes()).read_all()
    for kind in ("lz4", "zstd", "uncompressed"):
        path = tmp_path / kind / "b.feather"
        path.parent.mkdir()
        feather.write_feather(table, str(path), compression=kind, chunksize=2)
        assert texts(list(pairloom.open(path.parent))) == wanted(0, 1, 2)
    out = written(tmp_path / "zstd", tmp_path / "out")
    assert feather.read_table(out / "b.feather").to_pylist() == table.to_pylist()


def test_rows_of_spans_that_batches_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columnar, "SIZE", 3)
    stream(tmp_path / "a.arrow", range(11), batch=4)
    shards = open_set(tmp_path).shards
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 3), (3, 6), (6, 9), (9, 11)]
    assert texts([pair for shard in reversed(shards) for pair in read(shard)]) == wanted(9, 10, 6, 7, 8, 3, 4, 5, 0, 1, 2)  # fmt: skip


def test_pictures_by_path_and_neighbours_of_one_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(1))
    rows: dict[str, Any] = {"image": ["x.png", "x.png", "y.png"], "text": ["one", "two", "three"]}
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file:
        table = pa.table(rows)
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    both, absent = pairloom.open(tmp_path / "a.arrow")
    assert texts([both]) == ["one", "two"] and both.image.read() == png(1)
    assert absent.problem.startswith("no image")


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    stream(tmp_path / "a.arrow", range(2))
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    (tmp_path / "a.arrow").rename(folder / "a.arrow")
    assert texts(list(pairloom.open(folder))) == wanted(0, 1)


@pytest.mark.parametrize("is_stream", [True, False])
def test_damaged_files_are_named(tmp_path: Path, is_stream: bool) -> None:
    path = tmp_path / "a.arrow"
    stream(path, range(6))
    if not is_stream:
        feather.write_feather(pa.ipc.open_stream(path.read_bytes()).read_all(), str(path))
    whole, lot = path.read_bytes(), random.Random(3)
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(lot.randrange(1, 9)):
            raw[lot.randrange(len(raw))] = lot.randrange(256)
        path.unlink()
        path.write_bytes(raw[: lot.choice([len(raw), len(raw), lot.randrange(len(raw))])])
        try:
            pairs = list(pairloom.open(path))
        except Mistake as mistake:
            assert "a.arrow" in str(mistake)
        else:
            assert all(pair.problem or pair.image_key for pair in pairs)
