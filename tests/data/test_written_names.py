"""Names of pictures as tables write them: paths of another machine, addresses of files, codes, no suffix; cells with the picture itself;
how tables end their lines and name their columns; what is told of files that are not read."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom.data.formats import imagefolder
from pairloom.data.pair import content_hash

COUNT = 3


def picture(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set's folder with pictures in images/."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    for number in range(COUNT):
        (tmp_path / "set" / "images" / f"a b{number}.png").write_bytes(picture(number))
    return tmp_path / "set"


def pairs_of(where: Path) -> dict[str, str]:
    """The text of every pair, and the hash of its picture."""
    return {pair.texts[0].text: pair.image_key for pair in pairloom.open(where)}


RIGHT = {f"wall {number}": content_hash(picture(number)) for number in range(COUNT)}


@pytest.mark.parametrize(
    "written",
    [
        "/home/me/set/images/a b{}.png",
        "C:\\Users\\me\\set\\images\\a b{}.png",
        "file:///home/me/set/images/a b{}.png",
        "images/a%20b{}.png",
        " images/a b{}.png ",
        "a b{}",
        "images/a b{}",
    ],
)
def test_a_name_that_can_mean_one_picture_finds_it_and_says_so(folder: Path, written: str) -> None:
    rows = [f"{written.format(number)},wall {number}" for number in range(COUNT)]
    (folder / "data.csv").write_text("\n".join(["image,caption", *rows]))
    assert pairs_of(folder) == RIGHT
    assert all("the set writes" in pair.notes[0] for pair in pairloom.open(folder))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("/home/me/a b{}.png", "is not there"),  # its folder is another: /home/me/x/ may have had one too
        ("images/a b{}.jpg", "there is images/a b0.png"),  # may be another picture, such as a mask
        ("https://example.org/images/a b{}.png", "fetches nothing"),
    ],
)
def test_a_name_that_could_mean_another_picture_finds_none(folder: Path, written: str, says: str) -> None:
    rows = [f"{written.format(number)},wall {number}" for number in range(COUNT)]
    (folder / "data.csv").write_text("\n".join(["image,caption", *rows]))
    found = list(pairloom.open(folder))
    assert not any(pair.image_key for pair in found) and says in found[0].problem
    assert {pair.texts[0].text for pair in found} == set(RIGHT)


def test_a_name_without_suffix_that_two_pictures_have_finds_none(folder: Path) -> None:
    (folder / "images" / "a b0.jpg").write_bytes(picture(9))
    (folder / "data.csv").write_text("image,caption\na b0,wall 0\na b1,wall 1\n")
    keys = [pair.image_key for pair in pairloom.open(folder)]
    assert keys == ["", RIGHT["wall 1"]]


def test_addresses_that_are_the_picture_are_read(tmp_path: Path) -> None:
    start = "data:image/png;base64,"
    rows = [
        {"image": start + base64.b64encode(picture(number)).decode(), "caption": f"wall {number}"}
        for number in range(COUNT)
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert pairs_of(tmp_path) == RIGHT


@pytest.mark.parametrize("count", [COUNT, 3000])
def test_lines_may_end_with_a_carriage_return_alone(folder: Path, count: int) -> None:
    rows = [f'images/a b{number % COUNT}.png,"wall {number}"' for number in range(count)]
    (folder / "data.csv").write_bytes("\r".join(["image,caption", *rows, ""]).encode())
    pairs = pairs_of(folder)
    assert len(pairs) == count and {text: pairs[text] for text in RIGHT} == RIGHT


def test_a_column_does_not_hide_another_of_its_name(folder: Path, tmp_path: Path) -> None:
    rows = [f"images/a b{number}.png,wall {number},other {number}" for number in range(COUNT)]
    (folder / "data.csv").write_text("\n".join(["image,caption,caption", *rows]))
    assert pairs_of(folder) == RIGHT
    assert [pair.meta["caption.1"] for pair in pairloom.open(folder)] == [
        f"other {at}" for at in range(COUNT)
    ]


def test_files_that_are_not_read_come_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    (folder / "captions.xlsx").write_bytes(b"PK\3\4")
    (folder / "data.csv").write_text("image,caption\nimages/a b0.png,wall 0\n")
    assert any("save it as CSV" in note for note in pairloom.open(folder).notes)


@pytest.mark.parametrize("suffix", ["svg", "exr", "dcm", "psd", "tga"])
def test_a_picture_of_a_kind_that_is_not_read_is_no_missing_one(folder: Path, suffix: str) -> None:
    (folder / "images" / f"x.{suffix}").write_bytes(b"1234")
    (folder / "images" / "x.txt").write_text("a wall")
    (folder / "images" / "a b0.txt").write_text("wall 0")
    problems = {pair.texts[0].text: pair.problem for pair in pairloom.open(folder) if pair.texts}
    assert problems == {
        "a wall": f"images/x.{suffix} is of a kind that is not read: save it as JPEG or PNG",
        "wall 0": "",
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_split_of_which_nothing_is_left_has_no_table(tmp_path: Path, kind: str) -> None:
    for at, split in enumerate(("train", "test")):
        (tmp_path / "raw" / split).mkdir(parents=True)
        (tmp_path / "raw" / split / "a.png").write_bytes(picture(at))
        file = tmp_path / "raw" / split / f"metadata.{kind}"
        row = {"file_name": "a.png", "text": f"wall {at}"}
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), file)
        else:
            file.write_text(
                json.dumps(row) if kind == "jsonl" else "\n".join(map(",".join, (row, row.values())))
            )
    shards = pairloom.open(tmp_path / "raw").shards
    for shard in shards:
        kept = [] if shard.name.startswith("test") else list(imagefolder.read(shard))
        imagefolder.write(tmp_path / "out", shard.name, kept, shard)
    imagefolder.finish(tmp_path / "out", [shard.name for shard in shards])
    imagefolder.finish(tmp_path / "out", [shard.name for shard in shards])  # as after a kill
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["train/a.png", f"train/metadata.{kind}"]
    assert pairs_of(tmp_path / "out") == {"wall 0": content_hash(picture(0))}
