"""Several files as one set: patterns with braces and stars, lists of paths, what is refused, and clean on them; compressed tars, and
texts apart from their pictures, are told."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pairloom
from pairloom.data.formats import _files
from pairloom.data.several import expanded, open_again
from pairloom.errors import Mistake


def tar(path: Path, first: int, count: int = 2) -> Path:
    """A tar of noise pictures with texts, numbered from `first`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for at in range(first, first + count):
            out = io.BytesIO()
            pixels = np.random.default_rng(at).integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(out, "PNG")
            for suffix, data in {"png": out.getvalue(), "txt": f"a wall number {at}".encode()}.items():
                entry = tarfile.TarInfo(f"{at:03}.{suffix}")
                entry.size = len(data)
                file.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for at in range(3):
        tar(tmp_path / f"{at:05}.tar", 2 * at)
    return tmp_path


def texts(where: object) -> list[str]:
    return [pair.texts[0].text for pair in pairloom.open(where)]  # type: ignore[arg-type]


def numbers(*wanted: int) -> list[str]:
    return [f"a wall number {at}" for at in wanted]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("{00000..00001}.tar", (0, 1, 2, 3)),
        ("{00002..00001}.tar", (4, 5, 2, 3)),
        ("0000{0,2}.tar", (0, 1, 4, 5)),
        ("*.tar", (0, 1, 2, 3, 4, 5)),
        ("0000[12].tar", (2, 3, 4, 5)),
        ("{00002.tar,*0.tar}", (4, 5, 0, 1)),
    ],
)
def test_a_pattern_is_the_files_that_it_stands_for(tars: Path, pattern: str, wanted: tuple[int, ...]) -> None:
    assert texts(tars / pattern) == numbers(*wanted)


def test_a_list_of_paths_is_one_set_in_its_order(tars: Path) -> None:
    pairs = pairloom.open([tars / "00002.tar", str(tars / "00000.tar"), tars / "00002.tar"])
    assert [pair.texts[0].text for pair in pairs] == numbers(4, 5, 0, 1)
    assert pairs.path == tars and [shard.name for shard in pairs.shards] == ["00002", "00000"]
    assert list(open_again(pairs.facts()).pairs()) == list(pairs)


def test_tars_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    one, other = tar(tmp_path / "a" / "0.tar", 0), tar(tmp_path / "b" / "0.tar", 10)
    pairs = pairloom.open([one, other])
    assert texts([one, other]) == numbers(0, 1, 10, 11)
    result = pairs.clean(tmp_path / "out", captions=False, workers=1)
    assert sorted(path.name for path in result.pairs.rglob("*.tar")) == ["0.tar", "0.tar"]
    assert texts(result.pairs) == numbers(0, 1, 10, 11)
    assert result.facts["set"]["files"] == ["a/0.tar", "b/0.tar"]
    assert pairs.clean(tmp_path / "out", captions=False).facts == result.facts  # finished already
    with pytest.raises(Mistake, match="another set"):
        pairloom.open([other, one]).clean(tmp_path / "out", captions=False)


def test_tables_beside_their_pictures(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20), "red").save(tmp_path / name / "x.png")
        (tmp_path / name / "t.csv").write_text(f"image,text\nx.png,a text of {name}\n")
    pairs = list(pairloom.open([tmp_path / "a" / "t.csv", tmp_path / "b" / "t.csv"]))
    assert [pair.texts[0].text for pair in pairs] == ["a text of a", "a text of b"]
    assert [pair.image.path for pair in pairs] == [tmp_path / name / "x.png" for name in "ab"]


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path: Path) -> None:
    tar(tmp_path / "[ab]{1,2}.tar", 7)
    assert texts(tmp_path / "[ab]{1,2}.tar") == numbers(7, 8)


def test_what_is_refused_says_why(tars: Path) -> None:
    with pytest.raises(Mistake, match=r"nothing at .*00003\.tar"):
        pairloom.open(tars / "{00002..00004}.tar")
    with pytest.raises(Mistake, match="Nothing fits"):
        pairloom.open(tars / "x*.tar")
    with pytest.raises(Mistake, match="No set was named"):
        pairloom.open([])
    with pytest.raises(Mistake, match="too many names"):
        expanded("{0..99999999999}.tar")
    for name in ("p", "q"):
        (tars / name).mkdir()
        Image.new("RGB", (20, 20)).save(tars / name / "x.png")
        (tars / name / "x.txt").write_text("a text")
    with pytest.raises(Mistake, match="different formats"):
        pairloom.open([tars / "p", tars / "00000.tar"])
    with pytest.raises(Mistake, match="p lies in"):
        pairloom.open([tars / "p", tars], format="folder_text")
    with pytest.raises(Mistake, match="cannot be the output"):
        pairloom.open([tars / "00000.tar", tars / "00001.tar"]).clean(tars, captions=False)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tar_among_others_is_named_as_one(tars: Path, pack: Callable[[bytes], bytes]) -> None:
    (tars / "00001.tar").write_bytes(pack((tars / "00001.tar").read_bytes()))
    pairs = list(pairloom.open(tars))
    assert [(pair.name, pair.problem) for pair in pairs if pair.problem] == [
        ("00001.tar", "tar is compressed: unpack it first")
    ]
    assert len(pairs) == 5


def test_texts_apart_from_their_pictures_are_told(tmp_path: Path) -> None:
    for at in range(3):
        for name in (f"images/{at}.png", f"more/{at}.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (20, 20)).save(tmp_path / name)
        (tmp_path / "captions").mkdir(exist_ok=True)
        (tmp_path / f"captions/{at}.txt").write_text("a text")
        (tmp_path / f"more/{at}.txt").write_text("a text beside its picture")
    assert pairloom.open(tmp_path).notes == (
        "3 texts have the name of a picture in another folder (captions/0 and images/0): put each text beside its picture.",
    )


def test_a_folder_is_listed_once_for_all_formats_and_anew_at_every_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(folder / "a.png")
    (folder / "a.txt").write_text("a red square")
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(_files.os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert pairloom.open(folder).format == "folder_text"
    assert len(listed) <= 4  # the first look, and walks that stream
    (folder / "metadata.csv").write_text("file_name,text\na.png,a square of red\n")
    (folder / "a.txt").unlink()
    assert texts(folder) == ["a square of red"]


def test_several_folders_of_pictures_are_one_set(tmp_path: Path) -> None:
    for at, name in enumerate(("a b", "c/d")):
        (tmp_path / name / "x").mkdir(parents=True)
        noise = np.random.default_rng(at).integers(0, 256, (2, 24, 20, 3), np.uint8)
        Image.fromarray(noise[0]).save(tmp_path / name / "x" / "1.png")
        (tmp_path / name / "x" / "1.txt").write_text(f"a square number {at}")
        Image.fromarray(noise[1]).save(tmp_path / name / "2.png")
        (tmp_path / name / "2.png.txt").write_text(
            f"an oblong number {at}"
        )  # goes with the picture before it
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "3.txt").write_text("no part of the set")
    pairs = pairloom.open([tmp_path / "a b", tmp_path / "c" / "d"])
    names = ["a b/2", "a b/x/1", "c/d/2", "c/d/x/1"]
    assert [pair.name for pair in pairs] == names and all(pair.image_key for pair in pairs)
    wanted = ["an oblong number 0", "a square number 0", "an oblong number 1", "a square number 1"]
    assert texts([tmp_path / "a b", tmp_path / "c" / "d"]) == wanted
    assert [pair.key for pair in open_again(pairs.facts()).pairs()] == [pair.key for pair in pairs]
    result = pairs.clean(tmp_path / "out", captions=False)
    assert texts(result.pairs) == wanted
