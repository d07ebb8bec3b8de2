"""From pictures and their regions to a model of regions and its answers: train, match, score, retrieve, reason, by Python and commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pairloom
from pairloom.cli import main
from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.world import World
from pairloom.world.regions import CLASSES, FEATURES, detect, write_regions
from pairloom.world.world import write_folder

WORLD = World(10, seed=5, level="simple", size=32)
FAST = ["batch=4", "steps=2", "log_every=1", "model.length=20", "model.positions=24"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn set, the regions of all but one of its pictures, and a model of both."""
    root = tmp_path_factory.mktemp("regions")
    write_folder(WORLD, root / "pairs")
    write_regions(WORLD, root / "regions")
    (root / "regions" / "000009.npz").unlink()
    pairloom.train(
        "uniter",
        root / "pairs",
        root / "uniter",
        preset="tiny",
        held_out=0.0,
        regions=root / "regions",
        settings=FAST,
    )
    return root


def call(monkeypatch: Any, capsys: Any, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pairloom", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, " ".join(printed.err.split())


def test_the_settings_that_the_regions_decide(place: Path) -> None:
    model = pairloom.load(place / "uniter", regions=place / "regions")
    assert (
        (model.config.features, model.config.classes)
        == (FEATURES, CLASSES)
        == (model.feed.features, model.feed.classes)
    )
    assert model.config.pictures == 0 and model.abilities == {"match"}


def test_train_counts_pictures_without_regions(
    place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    words = (
        "train",
        "vilbert",
        *FAST,
        "--data",
        place / "pairs",
        "--out",
        tmp_path / "m",
        "--preset",
        "tiny",
        "--held-out",
        "0",
    )
    code, out, _ = call(monkeypatch, capsys, *words, "--regions", place / "regions", "--dry-run", "--json")
    assert (
        code == 0
        and json.loads(out)["skipped"] == {"no regions of its picture": 1}
        and json.loads(out)["pictures"] == 9
    )
    code, _, told = call(monkeypatch, capsys, *words)
    assert code == 2 and "vilbert reads regions, not pictures" in told and "pairloom regions PICTURES" in told
    other = tmp_path / "other"
    write_regions(World(2, seed=9, level="simple", size=32), other)
    for file in list(other.iterdir()):
        file.rename(other / f"x{file.name}")
    code, _, told = call(monkeypatch, capsys, *words, "--regions", other)
    assert (
        code == 2
        and "None of the set's pictures has regions" in told
        and "x000000" in told
        and "000000.jpg" in told
    )
    words = ("train", "clip", *words[words.index("--data") :])
    code, _, told = call(monkeypatch, capsys, *words, "--regions", place / "regions")
    assert code == 2 and "clip reads pictures, not regions" in told


def test_match_score_and_retrieve_agree(place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    model = pairloom.load(place / "uniter", regions=place / "regions")
    pairs = sorted(open_set(place / "pairs").pairs(), key=lambda one: one.name)
    texts = [pair.texts[0].text for pair in pairs]
    files = [place / "pairs" / f"{pair.name}.jpg" for pair in pairs[:9]]
    scores = model.match(files, texts)
    assert scores.by == "match head" and scores.values.shape == (9, 10)
    alone = model.match(detect(WORLD.row(2).scene), texts)  # regions in the place of a picture
    numpy.testing.assert_allclose(alone.values, scores.values[2], atol=1e-5)
    assert numpy.array_equal(model.match("000002", texts).values, alone.values), "by its id alone"
    words = ("--model", place / "uniter", "--regions", place / "regions", "--json")
    code, out, _ = call(monkeypatch, capsys, "match", files[2], *texts[:2], *words)
    assert code == 0 and {row["text"] for row in json.loads(out)["texts"]} == set(texts[:2])
    code, out, _ = call(
        monkeypatch,
        capsys,
        "score",
        place / "pairs",
        "--out",
        tmp_path / "s.parquet",
        "--workers",
        "1",
        *words,
    )
    assert code == 0 and json.loads(out)["texts"] == 9 and json.loads(out)["unreadable"] == 1
    table = {row["name"]: row for row in pq.read_table(tmp_path / "s.parquet").to_pylist()}
    assert table["000009"]["score"] is None and "no regions of it" in table["000009"]["problem"]
    for at in range(9):
        assert table[f"{at:06d}"]["score"] == pytest.approx(float(scores.values[at, at]), abs=1e-5)
    code, out, _ = call(monkeypatch, capsys, "retrieve", place / "pairs", *words)
    told = json.loads(out)
    assert code == 0 and told["pictures"] == 9 and told["skipped"] == {"no regions of its picture": 1}
    right = numpy.mean([scores.values[at, at] >= scores.values[at, :9].max() for at in range(9)])
    assert len(set(texts[:9])) < 9 or told["metrics"]["image to text"]["R@1"]["value"] == pytest.approx(right)


def test_a_photo_without_regions_says_how_to_get_them(place: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (32, 32), "red").save(photo)
    bare, model = pairloom.load(place / "uniter"), pairloom.load(place / "uniter", regions=place / "regions")
    for ask in (
        lambda: bare.match(photo, ["a"]), lambda: bare.retrieve(place / "pairs"), lambda: model.match(Image.new("RGB", (9, 9)), ["a"]),
        lambda: model.match(photo, ["a"]),
        lambda: pairloom.open(place / "pairs").score(place / "uniter", tmp_path / "s.parquet"),
    ):  # fmt: skip
        with pytest.raises(Mistake, match="regions") as caught:
            ask()
        assert (
            "pairloom regions PICTURES --detector" in caught.value.do and "docs/regions.md" in caught.value.do
        )
    with pytest.raises(Mistake, match=f"features of {FEATURES}"):
        model.match(pairloom.Detected(numpy.ones((1, 3)), numpy.array([[0, 0, 1, 1]])), ["a"])


def statements(root: Path) -> Path:
    """Eight statements about drawn boxes of NLVR, four of them true: there is a black square, or a yellow one."""
    folder = root / "nlvr" / "train"
    folder.mkdir(parents=True)
    rows = []
    for at in range(8):
        item = {
            "type": "square",
            "color": ("Black", "Yellow")[at % 2],
            "x_loc": 5 + at,
            "y_loc": 20,
            "size": 20,
        }
        text = f"There is a {('black', 'yellow')[at // 4]} square."
        true = str((at % 2) == (at // 4)).lower()
        rows.append(
            {
                "identifier": f"{at}-0",
                "sentence": text,
                "label": true,
                "directory": "1",
                "structured_rep": [[item], [], []],
            }
        )
        (folder / "images" / "1").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 100), (at, at, at)).save(folder / "images" / "1" / f"train-{at}-0-0.png")
    (folder / "train.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("system", "outcome"), [("uniter", " 1.0000"), ("vilbert", " 1.0000"), ("lxmert", "")]
)
def test_statements_about_the_boxes_of_nlvr(
    system: str, outcome: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """The set is its own regions; a model of statements results, which is asked by `reason`. LXMERT's three encoders take longer to
    learn eight than a test may."""
    data = statements(tmp_path)
    words = [
        "batch=8",
        "steps=150",
        "lr=3e-3",
        "warmup=10",
        "log_every=20",
        "--preset",
        "tiny",
        "--held-out",
        "0",
        "--json",
    ]
    code, out, told = call(
        monkeypatch, capsys, "train", system, *words, "--data", data, "--out", tmp_path / "m"
    )
    assert code == 0, told
    model = pairloom.load(tmp_path / "m")
    assert model.config.pictures == 1 and model.config.features == 13 and model.config.classes == 10
    assert "reason" in model.abilities and "match" not in model.abilities and model.feed.classes == 0
    code, out, told = call(monkeypatch, capsys, "reason", data, "--model", tmp_path / "m")
    assert code == 0 and f"8 statements, accuracy{outcome}" in told
    lines = [json.loads(line) for line in out.splitlines()]
    assert not outcome or [line["true"] for line in lines] == [line["label"] for line in lines]
    one = pairloom.load(tmp_path / "m", regions=data).reason("train-5-0-0.png", "There is a yellow square.")
    assert one.true == lines[5]["true"] and one.chance == pytest.approx(lines[5]["chance"], abs=1e-6)
