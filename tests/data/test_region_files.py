"""Regions on disk: every layout read to values that the test wrote, joined to pictures by name or id; and what is refused, with why.

LMDB, msgpack and HDF5 are tried where the packages of the extra `regions` are installed.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageDraw

from pairloom import registry
from pairloom.data.detected import Detected, checked, distributions
from pairloom.data.pair import Blob, content_hash
from pairloom.data.pixels import Unreadable
from pairloom.data.region_files import nlvr_boxes
from pairloom.data.region_set import open_regions, picture_names
from pairloom.data.regions import collate_regions
from pairloom.errors import Mistake
from pairloom.systems import lxmert

DRAW = numpy.random.default_rng(0)
PIXELS = numpy.array([[0, 10, 50, 60], [20, 0, 200, 100]], numpy.float32)  # of a picture of 200 x 100
SHARES = PIXELS / numpy.array([200, 100, 200, 100])
FEATURES = DRAW.random((2, 8), numpy.float32)
ODDS = numpy.array([[0.1, 0.2, 0.7], [0.0, 0.9, 0.1]], numpy.float32)


def same(one: Detected, features: Any = FEATURES, boxes: Any = SHARES, classes: Any = ODDS) -> None:
    numpy.testing.assert_allclose(one.features, features, atol=1e-3)
    numpy.testing.assert_allclose(one.boxes, boxes, atol=1e-3)
    assert (one.class_probabilities is None) == (classes is None)
    if classes is not None:
        numpy.testing.assert_allclose(one.class_probabilities, classes, atol=1e-3)


def ours(folder: Path, name: str = "a", **arrays: Any) -> Path:
    folder.mkdir(exist_ok=True)
    values = {"features": FEATURES, "boxes": SHARES, "class_probabilities": ODDS} | arrays
    numpy.savez(folder / f"{name}.npz", **{key: value for key, value in values.items() if value is not None})
    return folder


def tsv_line(record: str, ten: bool = True, labels: Any = (5, 1599), certain: Any = (0.4, 0.9)) -> str:
    def packed(values: Any, kind: str) -> str:
        return base64.b64encode(numpy.asarray(values, kind).tobytes()).decode()

    boxes, features = packed(PIXELS, "<f4"), packed(FEATURES, "<f4")
    if not ten:
        return "\t".join([record, "200", "100", "2", boxes, features]) + "\n"
    objects = [packed(labels, "<i8"), packed(certain, "<f4")]
    attributes = [packed((399, 0), "<i8"), packed((0.8, 0.2), "<f4")]
    return "\t".join([record, "100", "200", *objects, *attributes, "2", boxes, features]) + "\n"


def test_npz_ours_uniters_and_bottom_ups(tmp_path: Path) -> None:
    same(open_regions(ours(tmp_path / "ours"))["a"])
    uniter = tmp_path / "uniter"
    uniter.mkdir()
    norm = numpy.concatenate([SHARES, SHARES[:, 2:] - SHARES[:, :2]], 1).astype(numpy.float16)
    numpy.savez(
        uniter / "coco_val2014_000000000042.npz", features=FEATURES.astype(numpy.float16), norm_bb=norm, soft_labels=ODDS,
        conf=numpy.array([0.7, 0.9]),
    )  # fmt: skip
    found = open_regions(uniter)
    same(found.of(["COCO_val2014_000000000042.jpg"]))
    bottom_up = tmp_path / "bottom_up"
    bottom_up.mkdir()
    about = numpy.array({"objects": "a dict, which is pickled"}, dtype=object)
    numpy.savez(bottom_up / "42.npz", x=FEATURES, bbox=PIXELS, image_w=200, image_h=100, info=about)
    same(open_regions(bottom_up).of(["COCO_val2014_000000000042.jpg"]), classes=None)


def test_npy_is_a_grid(tmp_path: Path) -> None:
    cells = DRAW.random((2, 3, 8), numpy.float32)
    numpy.save(tmp_path / "a.npy", cells)
    one = open_regions(tmp_path)["a"]
    assert numpy.array_equal(one.features, cells.reshape(6, 8)) and one.class_probabilities is None
    numpy.testing.assert_allclose(one.boxes[4], [1 / 3, 1 / 2, 2 / 3, 1], rtol=1e-6)
    numpy.save(tmp_path / "flat.npy", cells[0])
    numpy.save(tmp_path / "b_info.npy", numpy.array({"bbox": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(Unreadable, match="boxes are missing"):
        open_regions(tmp_path)["flat"]
    with pytest.raises(Unreadable, match="pickled, which is never read"):
        open_regions(tmp_path)["b_info"]


def test_tsv_of_lxmert_surest_first_with_a_distribution(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(tsv_line("COCO_val2014_000000000042") + tsv_line("7"))
    (tmp_path / "val.tsv").write_text(tsv_line("8"))
    found = open_regions(tmp_path)
    assert list(found) == ["COCO_val2014_000000000042", "7", "8"]
    one = found.of(["000000000042.jpg"])
    chances = numpy.zeros((2, 1601), numpy.float32)
    chances[0, 1:], chances[1, 1:] = 0.1 / 1599, 0.6 / 1599  # certain 0.9 and 0.4; background has none
    chances[0, 1600], chances[1, 6] = 0.9, 0.4
    same(one, FEATURES[::-1], SHARES[::-1], chances)
    attributes = numpy.zeros((2, 401), numpy.float32)
    attributes[0, 1:], attributes[1, 1:] = (
        0.8 / 399,
        0.2 / 399,
    )  # in the order of the objects; "none" has nothing
    attributes[0, 1], attributes[1, 400] = 0.2, 0.8
    numpy.testing.assert_allclose(one.attribute_probabilities, attributes, atol=1e-6)
    (tmp_path / "six.tsv").write_text(tsv_line("9", ten=False))
    same(open_regions(tmp_path / "six.tsv")["9"], classes=None)


def test_attributes_are_read_where_every_picture_of_a_batch_has_them(tmp_path: Path) -> None:
    """LXMERT learns them; a model that is asked, or that has no use for them, is not given any."""
    file = tmp_path / "train.tsv"
    file.write_text(tsv_line("7") + tsv_line("8"))
    seven, eight = (open_regions(file)[name] for name in "78")
    feed = lxmert.feed(replace(lxmert.TINY, features=FEATURES.shape[1], classes=1601, attributes=401))
    read = collate_regions([[seven], [eight]], feed).attribute_probabilities
    assert read is not None and read.shape == (2, 1, 2, 401)
    assert read.sum(-1).numpy() == pytest.approx(1, abs=1e-5)
    assert (
        collate_regions(
            [[seven], [replace(eight, attribute_probabilities=None)]], feed
        ).attribute_probabilities
        is None
    )
    assert collate_regions([[seven], [eight]], replace(feed, attributes=0)).attribute_probabilities is None
    wrong = replace(seven, attribute_probabilities=numpy.full((2, 401), 1.0))
    with pytest.raises(Unreadable, match="attribute distributions do not sum to 1"):
        checked(wrong)


def test_pictures_are_joined_by_key_name_and_number(tmp_path: Path) -> None:
    key = content_hash(b"bytes")
    for name in (
        key,
        "dir.photo",
        "COCO_train2014_000000000009",
        "flickr30k_000000000012",
        "dev-850-0-0-img0",
    ):
        ours(tmp_path / "regions", name)
    found = open_regions(tmp_path / "regions")
    assert found.find([key]) == key and found.find([content_hash(b"other")]) is None
    assert found.find(["sub/dir.photo.jpg"]) == found.find(["dir.photo"]) == "dir.photo"
    assert {found.find([name]) for name in ("9", "000000000009.jpg", "train2017_000000000009.png")} == {
        "COCO_train2014_000000000009"
    }
    assert found.find(["12.jpg"]) == "flickr30k_000000000012"
    assert found.find(["nlvr2_dev-850-0-0-img0.png"]) == "dev-850-0-0-img0"
    assert found.find(["img_9.jpg"]) is None, "a number inside some other name says nothing"
    ours(tmp_path / "regions", "COCO_val2014_000000000009")
    assert open_regions(tmp_path / "regions").find(["9"]) is None, "two pictures have the number"
    assert picture_names("k", "n", Blob(Path("/x/y.jpg"))) == ["k", "n", "y.jpg"]
    assert picture_names("k", "n", Blob(Path("/x/y.tar"), 3, 4, name="y.jpg")) == ["k", "n", "y.jpg"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"boxes": SHARES[:, [2, 1, 0, 3]]}, "box 0 is upside down"),
        ({"boxes": SHARES + [[0, 0, 0, 0], [0, 0, 0.2, 0]]}, "box 1 lies outside"),
        ({"boxes": PIXELS}, "in pixels"),
        ({"boxes": SHARES[:, :3]}, "3 numbers"),
        ({"boxes": SHARES[:1]}, "not those of 2 regions"),
        ({"boxes": None}, "it has no boxes: it has features, class_probabilities"),
        ({"features": None}, "it has no features"),
        ({"features": FEATURES * numpy.nan}, "not all numbers"),
        ({"class_probabilities": ODDS * 2}, "do not sum to 1: that of region 0 sums to 2"),
        ({"class_probabilities": ODDS - [[0.5, 0, -0.5]]}, "chances below 0"),
        ({"features": FEATURES[:0], "boxes": SHARES[:0], "class_probabilities": ODDS[:0]}, "it has no region"),
        ({"boxes": PIXELS, "image_w": 0, "image_h": 9}, "size 0 x 9"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_reason(tmp_path: Path, wrong: dict[str, Any], why: str) -> None:
    found = open_regions(ours(ours(tmp_path), "b", **wrong))
    same(found["a"])
    with pytest.raises(Unreadable, match=why):
        found["b"]
    with pytest.raises(Mistake, match="b cannot be read as regions") as caught:
        found.of_one(["b"])
    assert why in caught.value.why and "pairloom regions" in caught.value.do


def test_a_box_that_sticks_out_a_little_is_cut() -> None:
    boxes = numpy.array([[-0.01, 0, 1.01, 1]], numpy.float32)
    assert checked(Detected(FEATURES[:1], boxes)).boxes.tolist() == [[0, 0, 1, 1]]
    with pytest.raises(Unreadable, match="none of 3"):
        distributions(numpy.array([3]), numpy.array([0.5]), 3)


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    file = ours(tmp_path / "npz") / "a.npz"
    ours(tmp_path / "npz", "b")
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(Unreadable, match="not whole"):
        open_regions(tmp_path / "npz")["a"]
    same(open_regions(tmp_path / "npz")["b"])
    text = tsv_line("7") + tsv_line("8")
    (tmp_path / "cut.tsv").write_text(text[:-30])
    found = open_regions(tmp_path / "cut.tsv")
    assert found["7"].features.shape == (2, 8)
    with pytest.raises(Unreadable, match="cut off"):
        found["8"]
    (tmp_path / "cut.tsv").write_text(text[: len(text) // 2 + 40])
    with pytest.raises(Unreadable, match="cut off: 5 columns"):
        open_regions(tmp_path / "cut.tsv")["8"]


def test_what_is_no_regions_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="nothing at"):
        open_regions(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Mistake, match="no regions that can be read") as caught:
        open_regions(tmp_path / "empty")
    assert all(
        registry.find("data.region_files", name).CLAIM in caught.value.why
        for name in registry.names("data.region_files")
    )
    ours(ours(tmp_path / "twice") / "sub")
    with pytest.raises(Mistake, match="two files called a"):
        open_regions(tmp_path / "twice")
    (tmp_path / "two.tsv").write_text(tsv_line("7") * 2)
    with pytest.raises(Mistake, match="two lines called 7"):
        open_regions(tmp_path / "two.tsv")
    (tmp_path / "vqa.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(Mistake, match="cannot be joined") as caught:
        open_regions(tmp_path / "vqa.h5")
    assert "pickle" in caught.value.why


# LMDB


def lmdb_of(folder: Path, records: dict[str, bytes], keys: bytes = b"__keys__") -> Path:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(folder), map_size=1 << 22)
    with environment.begin(write=True) as writing:
        for name, value in records.items():
            writing.put(name.encode(), value)
        writing.put(keys, b"[]")
    environment.close()
    return folder


def vilbert_record(**more: Any) -> dict[str, Any]:
    packed = {
        name: base64.b64encode(value.tobytes()) for name, value in (("features", FEATURES), ("boxes", PIXELS))
    }
    return {"image_id": 42, "image_w": "200", "image_h": 100, "num_boxes": 2, **packed, **more}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_pickled_record_of_plain_values_is_read_without_unpickling(tmp_path: Path, protocol: int) -> None:
    """With what plain values there are, so that the machine is tried, too."""
    more = {"caption": "a dog", "sizes": (1, 2, 3, 4), "pair": (1, 2), "none": None, "list": [1, 2.5, True, False], "big": 1 << 70, "empty": ()}  # fmt: skip
    record = vilbert_record(**more, again="a dog", text="x" * 300, one=[1], of={"a": 1}, minus=-3)
    data = pickle.dumps(record, protocol)
    from pairloom.data.region_files import _plain_pickle

    assert _plain_pickle.is_pickle(data) and _plain_pickle.read(data) == record
    found = open_regions(lmdb_of(tmp_path / "db", {"42": data}, b"keys"))
    assert list(found) == ["42"]
    same(found.of(["COCO_val2014_000000000042.jpg"]), classes=None)


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("it was run",)


def test_a_pickle_that_would_call_something_is_refused_by_name(tmp_path: Path, capsys: Any) -> None:
    from pairloom.data.region_files import _plain_pickle

    for value, name in ((Harmful(), "print"), (FEATURES, "numpy")):
        for protocol in (2, 4):
            with pytest.raises(Unreadable, match=f"would call .*{name}"):
                _plain_pickle.read(pickle.dumps({"features": value}, protocol))
    whole = pickle.dumps(vilbert_record(), 4)
    for cut in (3, len(whole) // 2, len(whole) - 1):
        with pytest.raises(Unreadable, match="not whole"):
            _plain_pickle.read(whole[:cut])
    found = open_regions(
        lmdb_of(
            tmp_path / "db", {"1": pickle.dumps({"features": Harmful()}), "2": pickle.dumps({"image_id": 2})}
        )
    )
    with pytest.raises(Unreadable, match="never done"):
        found["1"]
    with pytest.raises(Unreadable, match="not ViLBERT's"):
        found["2"]
    assert not capsys.readouterr().out


def test_uniters_lmdb_of_npz_and_of_msgpack(tmp_path: Path) -> None:
    msgpack = pytest.importorskip("msgpack")
    norm = numpy.concatenate([SHARES, SHARES[:, 2:] - SHARES[:, :2]], 1).astype(numpy.float32)
    arrays = {
        "features": FEATURES,
        "norm_bb": norm,
        "soft_labels": ODDS,
        "conf": numpy.array([0.9, 0.1], numpy.float32),
    }
    stream = io.BytesIO()
    numpy.savez_compressed(stream, **arrays)

    def spelled(array: Any) -> dict[bytes, Any]:  # as msgpack-numpy does
        return {
            b"nd": True,
            b"type": array.dtype.str,
            b"kind": b"",
            b"shape": array.shape,
            b"data": array.tobytes(),
        }

    packed = msgpack.dumps({name: spelled(array) for name, array in arrays.items()}, use_bin_type=True)
    objects = msgpack.dumps({"features": {**spelled(FEATURES), b"kind": b"O"}}, use_bin_type=True)
    records = {
        "a.npz": stream.getvalue(),
        "b.npz": packed,
        "c.npz": packed[:-9],
        "d.npz": objects,
        "e.npz": packed,
    }
    folder = lmdb_of(tmp_path / "feat_th0.2", records)
    found = open_regions(folder)
    assert list(found) == ["a.npz", "b.npz", "c.npz", "d.npz", "e.npz"]
    same(found.of(["a.jpg"]))
    same(found.of(["b"]))
    for name, why in (("c", "neither npz nor msgpack"), ("d", "it has no features")):
        with pytest.raises(Unreadable, match=why):
            found.of([name])
    (folder / "nbb_th0.2.json").write_text(json.dumps({"e.npz": 1}))
    same(open_regions(folder).of(["e"]), FEATURES[:1], SHARES[:1], ODDS[:1])


def test_an_lmdb_that_is_cut_off_is_a_mistake(tmp_path: Path) -> None:
    """Reading a page behind the end of the file would end the process."""
    folder = lmdb_of(tmp_path / "db", {str(at): bytes(5000) for at in range(40)})
    file = folder / "data.mdb"
    file.write_bytes(file.read_bytes()[: 8 * 4096])
    with pytest.raises(Mistake, match="cut off"):
        open_regions(folder)
    file.write_bytes(b"no database")
    with pytest.raises(Mistake, match="cannot be read"):
        open_regions(folder)


# HDF5


def test_hdf5_of_vlp(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    confident = numpy.concatenate([PIXELS, [[0, 0.3], [0, 0.8]]], 1)
    name = "COCO_val2014_000000000042"
    for kind, array in (("feat042", FEATURES), ("cls042", ODDS), ("bbox", confident)):
        with h5py.File(tmp_path / f"dets_{kind}.h5", "w") as file:
            file[name] = array
            if kind == "feat042":
                file["COCO_val2014_000000001042"] = array
    found = open_regions(tmp_path)
    same(
        found.of(["42.jpg"]), FEATURES[::-1], SHARES[::-1], ODDS[::-1]
    )  # the largest x and y are the sides: 200 and 100
    with pytest.raises(Unreadable, match="has nothing called"):
        found["COCO_val2014_000000001042"]
    file = tmp_path / "dets_feat042.h5"
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(Mistake, match="cut off"):
        open_regions(tmp_path)


# NLVR

SCENE = [
    [{"type": "triangle", "color": "Yellow", "x_loc": 20, "y_loc": 30, "size": 20}],
    [],
    [
        {"type": "square", "color": "#0099ff", "x_loc": 0, "y_loc": 79, "size": 20},
        {"type": "square", "color": "#0099ff", "x_loc": 0, "y_loc": 58, "size": 20},
        {"type": "circle", "color": "Black", "x_loc": 70, "y_loc": 10, "size": 30},
    ],
]  # fmt: skip


def drawn() -> Image.Image:
    """SCENE as NLVR draws it, in order 0."""
    image = Image.new("RGBA", (400, 100), "white")
    pen = ImageDraw.Draw(image)
    for place, items in enumerate(SCENE):
        pen.rectangle((150 * place, 0, 150 * place + 99, 99), fill=(211, 211, 211))
        for item in items:
            x, y, size = 150 * place + item["x_loc"], item["y_loc"], item["size"]
            colour = {"Yellow": "yellow", "Black": "black"}.get(item["color"], item["color"])
            if item["type"] == "square":
                pen.rectangle((x, y, x + size - 1, y + size - 1), fill=colour)
            elif item["type"] == "circle":
                pen.ellipse((x, y, x + size - 1, y + size - 1), fill=colour)
            else:  # within its square: a row is left free above
                pen.polygon(
                    [(x, y + size - 1), (x + size - 1, y + size - 1), (x + size // 2, y + 1)], fill=colour
                )
    return image


def nlvr(root: Path) -> Path:
    """Two statements, the first with the released items and two orders, the second with a picture alone; and one cut off."""
    rows = [
        {"identifier": "1-0", "sentence": "So.", "label": "true", "directory": "3", "structured_rep": SCENE},
        {"identifier": "2-0", "sentence": "Or so.", "label": "false", "directory": "3"},
    ]
    folder = root / "nlvr" / "dev"
    (folder / "images" / "3").mkdir(parents=True)
    (folder / "dev.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number, order in (("1-0", 0), ("1-0", 5), ("2-0", 0)):
        drawn().save(folder / "images" / "3" / f"dev-{number}-{order}.png")
    return folder


def test_the_boxes_of_nlvr_are_regions(tmp_path: Path) -> None:
    folder = nlvr(tmp_path)
    with tarfile.open(tmp_path / "nlvr.tar", "w") as tar:
        tar.add(tmp_path / "nlvr", "nlvr")
    for where in (folder, tmp_path / "nlvr.tar"):
        found = open_regions(where)
        assert list(found) == ["dev-1-0-0", "dev-1-0-5", "dev-2-0-0"]
        one = found["dev-1-0-0"]
        assert one.features.shape == (7, 13) and one.class_probabilities.argmax(1).tolist() == [
            0,
            0,
            0,
            4,
            3,
            3,
            8,
        ]
        # a triangle, yellow: 20 of 100 pixels, at 20 and 30, in the first box
        numpy.testing.assert_allclose(one.features[3], [0, 0, 1, 0, 1, 0, 0, 0.2, 0.2, 0.3, 1, 0, 0])
        numpy.testing.assert_allclose(one.boxes[3], [20 / 400, 0.3, 40 / 400, 0.5])
        numpy.testing.assert_allclose(one.boxes[1], [150 / 400, 0, 250 / 400, 1])
        last = found["dev-1-0-5"]  # the boxes in the order 2, 1, 0
        assert last.class_probabilities.argmax(1).tolist() == [0, 0, 0, 3, 3, 8, 4]
        numpy.testing.assert_allclose(last.boxes[6], [320 / 400, 0.3, 340 / 400, 0.5])
        read = found["dev-2-0-0"]  # off its picture, which shows the same
        assert sorted(map(tuple, read.features.tolist())) == sorted(map(tuple, one.features.tolist()))


def test_an_odd_picture_of_nlvr_is_a_reason(tmp_path: Path) -> None:
    folder = nlvr(tmp_path)
    Image.new("RGB", (50, 50)).save(folder / "images" / "3" / "dev-2-0-0.png")
    rows = (folder / "dev.json").read_text().replace('"x_loc": 20', '"left": 20')
    (folder / "dev.json").write_text(rows)
    found = open_regions(folder)
    for name, why in (("dev-2-0-0", "is 50 x 50"), ("dev-1-0-0", "an item of its boxes is broken")):
        with pytest.raises(Unreadable, match=why):
            found[name]


def test_items_read_off_the_released_pictures_are_the_released_items(real_data: Path) -> None:
    found = open_regions(real_data / "nlvr-dev.tar")
    for name in list(found)[::180]:
        blob, boxes = found.places[name]
        items = nlvr_boxes.items_of(numpy.asarray(Image.open(io.BytesIO(blob.read())).convert("RGB")))
        assert [sorted(box) for box in items] == [
            sorted(
                nlvr_boxes.Item(one["type"], one["color"].lower(), one["x_loc"], one["y_loc"], one["size"])
                for one in box
            )
            for box in boxes
        ]
