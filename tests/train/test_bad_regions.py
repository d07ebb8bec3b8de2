"""Regions that cannot be used: a Mistake where one picture is asked about, a row with the reason in a set, and the rest goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairloom
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build, save
from pairloom.world import World
from pairloom.world.asked import write_examples
from pairloom.world.regions import CLASSES, FEATURES, write_regions
from pairloom.world.world import write_folder

WORLD = World(10, seed=5, level="simple", size=32)
SIZES = [f"features={FEATURES}", f"classes={CLASSES}", "length=24", "positions=140"]
BAD = {
    "000000": "box 0 lies outside the picture",
    "000001": "box 0 is upside down",
    "000002": "features of 20",
    "000003": "do not sum to 1",
    "000004": "it has no region",
    "000005": "it is not whole",
    "000006": "no regions of it",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad")
    write_folder(WORLD, root / "pairs")
    write_examples(WORLD, root / "questions", "questions")
    folder = root / "regions"
    write_regions(WORLD, folder)

    def edit(name: str, field: str, change: Any) -> None:
        arrays = dict(np.load(folder / f"{name}.npz"))
        np.savez(folder / f"{name}.npz", **{**arrays, field: change(arrays[field])})

    edit("000000", "boxes", lambda boxes: np.array([[0.5, 0.2, 1.4, 0.9]] * len(boxes)))
    edit("000001", "boxes", lambda boxes: np.array([[0.9, 0.2, 0.1, 0.9]] * len(boxes)))
    edit("000002", "features", lambda features: features[:, :20])
    edit("000003", "class_probabilities", lambda chances: 2 * chances)
    for field in ("boxes", "features", "class_probabilities"):
        edit("000004", field, lambda values: values[:0])
    file = folder / "000005.npz"
    file.write_bytes(file.read_bytes()[:200])
    (folder / "000006.npz").unlink()
    tokens = Tokens.train([row.text for row in WORLD.rows()] * 2, 200)
    save(build("lxmert", tokens, "tiny", ["attributes=0", *SIZES]), root / "lxmert")
    save(build("vlp", tokens, "tiny", SIZES), root / "vlp")
    return root


def loaded(place: Path, name: str = "lxmert") -> Any:
    return pairloom.load(place / name, regions=place / "regions")


@pytest.mark.parametrize("name, reason", BAD.items())
def test_one_picture_is_a_mistake(place: Path, name: str, reason: str) -> None:
    model, picture = loaded(place), place / "pairs" / f"{name}.jpg"
    for ask in (
        lambda: model.match(picture, ["a ball"]),
        lambda: model.answer(picture, "is there a ball?"),
        lambda: model.explain(picture, "a ball"),
        lambda: model.boxes(picture, "a ball"),
    ):
        with pytest.raises(Mistake, match=reason):
            ask()


def test_a_set_has_a_row_with_the_reason(place: Path) -> None:
    for name, method, source, left in (
        ("lxmert", "answer", "questions", "answers"),
        ("vlp", "caption", "pairs", "captions"),
    ):
        problems: dict[str, str] = {}
        for line in loaded(place, name).lines(method, place / source):
            if "problem" in line:
                problems[f"{int(line['name'].partition('-')[0]):06d}"] = line["problem"]
            else:
                assert line[left]
        assert problems.keys() == BAD.keys()
        assert all(BAD[record] in problem for record, problem in problems.items())


def test_retrieval_leaves_them_out_and_says_why(place: Path) -> None:
    result = loaded(place).retrieve(place / "pairs")
    broken = result.unreadable
    assert broken.keys() == BAD.keys() - {"000006"}, "a picture without a record is skipped before"
    assert all(BAD[name] in reason for name, reason in broken.items())


def test_training_goes_on_without_them(place: Path, tmp_path: Path) -> None:
    model = pairloom.train(
        "uniter", place / "pairs", tmp_path / "model", preset="tiny", held_out=0.0, regions=place / "regions",
        settings=["batch=8", "steps=2", "model.length=24", "model.positions=40"],
    )  # fmt: skip
    assert model.config.features == FEATURES, "as wide as most are"


def test_a_photo_and_regions_without_classes(place: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="reads regions, not pictures"):
        pairloom.load(place / "lxmert").answer(place / "pairs" / "000008.jpg", "is there a ball?")
    assert loaded(place, "vlp").caption(place / "pairs" / "000008.jpg").text is not None
    arrays = dict(np.load(place / "regions" / "000008.npz"))
    del arrays["class_probabilities"]
    np.savez(tmp_path / "000008.npz", **arrays)
    with pytest.raises(Mistake, match="reads the detector's class probabilities"):
        pairloom.load(place / "vlp", regions=tmp_path).caption(place / "pairs" / "000008.jpg")
