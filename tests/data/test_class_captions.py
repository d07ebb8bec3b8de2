"""Reed's folders of birds and flowers: pictures of classes, ten captions each, class-disjoint lists, and Torch's files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pairloom
from pairloom.errors import Mistake

BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(path)


def texts(path: Path, about: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{about}, caption {number}\n" for number in range(10)))


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    for number, bird in enumerate(BIRDS):
        for one in range(2):
            texts(tmp_path / "text_c10" / bird / f"{bird[4:]}_{one}.txt", f"{bird} {one}")
            picture(tmp_path / "images" / bird / f"{bird[4:]}_{one}.jpg", 2 * number + one)
        (tmp_path / "text_c10" / f"{bird}.t7").write_bytes(b"torch")
    (tmp_path / "allclasses.txt").write_text("\n".join(BIRDS) + "\n")
    (tmp_path / "trainvalids.txt").write_text("3\n1\n")
    (tmp_path / "testclasses.txt").write_text(f"{BIRDS[1]}\n")
    (tmp_path / "manifest.txt").write_text("".join(f"{bird}.t7\n" for bird in BIRDS))
    return tmp_path


def test_a_picture_has_its_ten_captions_and_its_class(birds: Path) -> None:
    pairs = list(pairloom.open(birds))
    assert [pair.name for pair in pairs] == [f"{bird}/{bird[4:]}_{one}" for bird in BIRDS for one in range(2)]
    assert all(len(pair.texts) == 10 and not pair.problem for pair in pairs)
    assert [pair.meta["class"] for pair in pairs] == [bird for bird in BIRDS for _ in range(2)]
    assert pairs[3].texts[4].text == f"{BIRDS[1]} 1, caption 4"
    assert pairloom.open(birds).format == "class_captions"
    notes = " ".join(pairloom.open(birds).notes)
    assert f"{BIRDS[0]}.t7 was not read: Torch's files are not read" in notes


def test_lists_of_classes_are_disjoint_sets(birds: Path) -> None:
    classes = {
        name: {pair.meta["class"] for pair in pairloom.open(birds / name)}
        for name in ("trainvalids.txt", "testclasses.txt", "allclasses.txt")
    }
    assert classes["trainvalids.txt"] == {BIRDS[0], BIRDS[2]} and classes["testclasses.txt"] == {BIRDS[1]}
    assert classes["allclasses.txt"] == set(BIRDS)
    for number in ("4", "0", "one"):
        (birds / "testids.txt").write_text(f"1\n{number}\n")
        with pytest.raises(Mistake, match="is no line of allclasses.txt"):
            pairloom.open(birds / "testids.txt")


def test_flowers_lie_in_one_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        texts(tmp_path / "text_c10" / f"class_0000{number}" / f"image_0000{number}.txt", "a flower")
        picture(tmp_path / "jpg" / f"image_0000{number}.jpg", number)
    pairs = list(pairloom.open(tmp_path))
    assert [pair.meta["class"] for pair in pairs] == ["class_00001", "class_00002"]
    assert not any(pair.problem for pair in pairs)
    (tmp_path / "jpg" / "image_00002.jpg").unlink()
    assert [pair.problem for pair in pairloom.open(tmp_path)] == ["", "no image"]


def test_torch_files_are_refused_by_name_with_what_to_do(birds: Path, tmp_path: Path) -> None:
    for file in (birds / "images").rglob("*.jpg"):
        file.unlink()
    with pytest.raises(Mistake, match=r"not the pictures[\s\S]*\.t7[\s\S]*CUB-200-2011"):
        pairloom.open(birds)
    alone = tmp_path / "icml"
    (alone / BIRDS[0]).mkdir(parents=True)
    (alone / BIRDS[0] / "one.t7").write_bytes(b"torch")
    with pytest.raises(Mistake, match=r"one\.t7: Torch's files are not read: give a release with text_c10"):
        pairloom.open(alone)


def test_negatives_are_of_another_class_where_pictures_have_one(birds: Path, tmp_path: Path) -> None:
    from pairloom.data.datasets import class_pairs, pairs
    from pairloom.systems.reed_gan import System

    assert System.trains_on == ("class_pairs",)
    assert class_pairs.Dataset(birds, None).ids().tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(pairs.Dataset(birds, None).ids().tolist())) == 6
    picture(tmp_path / "plain" / "one.jpg", 1)
    (tmp_path / "plain" / "one.txt").write_text("a bird")
    assert class_pairs.Dataset(tmp_path / "plain", None).ids().tolist() == [0]
