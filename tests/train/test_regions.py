"""A system on regions: built, saved, loaded and trained through the loop; and what it says to a photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from pairloom.data.detected import Detected
from pairloom.data.feed import CodeFeed, RegionFeed
from pairloom.data.loader import CodeColumn, Loader, NumberColumn, TextColumn, TextTable
from pairloom.data.order import Plan
from pairloom.data.region_set import open_regions
from pairloom.data.regions import RegionColumn, collate_regions
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.train.loop import fit
from pairloom.train.settings import Settings
from pairloom.weights import load

NAME = "toys.regions"
WORDS = [
    f"{colour} {thing}" for colour in ("red", "blue", "green", "grey") for thing in ("cat", "dog", "ball")
]
FEED = RegionFeed(features=8, most=5)


def detected(seed: int, count: int, classes: int = 0) -> Detected:
    draw = numpy.random.default_rng(seed)
    odds = draw.random((count, classes), numpy.float32) if classes else None
    corner = draw.random((count, 2), numpy.float32) / 2
    boxes = numpy.concatenate([corner, corner + 0.25], 1)
    return Detected(draw.random((count, 8), numpy.float32), boxes, odds)


def model() -> Model:
    return build(NAME, Tokens.train(WORDS * 2, 80), "tiny", seed=1)


def loader(made: Model, found: object = None) -> Loader:
    table = TextTable.of(made.tokens, ([text] for text in WORDS), made.config.length)
    keys = [(f"key{row}",) for row in range(len(WORDS))]
    held = {f"key{row}": detected(row, 2 + row % 5) for row in range(len(WORDS))} if found is None else found
    regions = RegionColumn(held, keys, made.feed)  # type: ignore[arg-type]
    return Loader((regions, TextColumn(table), NumberColumn("image_ids")), table, window=0)


def test_a_model_without_pixels_is_built_saved_and_loaded(tmp_path: Path) -> None:
    made = model()
    assert made.feed == FEED and made.config.mask == made.tokens.mask
    again = load(save(made, tmp_path / "model"))
    assert again.feed == FEED and again.name == NAME
    batch = again.batch(texts=WORDS[:2], regions=collate_regions([[detected(1, 3)], [detected(2, 5)]], FEED))
    with torch.no_grad():
        for name in ("embed_image", "embed_text"):
            assert torch.equal(getattr(again.system, name)(batch), getattr(made.system, name)(batch))


def test_a_photo_is_refused_with_what_to_do() -> None:
    with pytest.raises(Mistake, match="reads regions, not pictures") as caught:
        model().batch([Image.new("RGB", (32, 32))], ["a red cat"])
    assert "a detector" in caught.value.why and "model.batch(regions=...)" in str(caught.value)
    coded = replace(model(), feed=CodeFeed(64, 16))
    with pytest.raises(Mistake, match="reads codes, not pictures"):
        coded.pictures([Image.new("RGB", (32, 32))])


@pytest.mark.parametrize("name", ["uniter", "vilbert"])
def test_the_papers_systems_say_what_they_read(name: str, tmp_path: Path) -> None:
    made = build(name, Tokens.train(WORDS * 2, 80), "tiny")
    assert made.feed.features == made.config.features and made.feed.classes == made.config.classes
    assert load(save(made, tmp_path)).feed == made.feed
    with pytest.raises(Mistake, match=f"{name} reads regions, not pictures"):
        made.batch([Image.new("RGB", (32, 32))])


def test_it_learns_through_the_loop(tmp_path: Path) -> None:
    """From memory and from files of regions alike, and again to the same bits."""
    for row in range(len(WORDS)):
        one = detected(row, 2 + row % 5)
        numpy.savez(tmp_path / f"key{row}.npz", features=one.features, boxes=one.boxes)
    runs = [model() for _ in range(2)]
    settings = Settings(steps=60, batch=12, lr=3e-2, clip=0.0, log_every=10)
    lines = [
        fit(one.system, loader(one, found), settings).lines
        for one, found in zip(runs, (None, open_regions(tmp_path)))
    ]
    assert lines[0][-1]["loss"] < 0.5 * lines[0][0]["loss"]
    for name, value in runs[0].system.state_dict().items():
        assert torch.equal(value, runs[1].system.state_dict()[name]), name


def test_regions_are_padded_and_the_surest_kept() -> None:
    found = [[detected(1, 3, 4), detected(2, 9, 4)], [detected(3, 1, 4), detected(4, 2, 4)]]
    made = collate_regions(found, replace(FEED, classes=4))
    assert made.features.shape == (2, 2, 5, 8) and made.boxes.shape == (2, 2, 5, 4)
    assert made.mask.sum(2).tolist() == [[3, 5], [1, 2]] and made.class_probabilities.shape == (2, 2, 5, 4)
    assert torch.equal(made.features[0, 1], torch.from_numpy(found[0][1].features[:5]))
    assert not made.features[~made.mask].any()
    assert collate_regions([[detected(1, 3)]], FEED).class_probabilities is None


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(Mistake, match="features of 8 and 4 class probabilities"):
        collate_regions([[detected(1, 3)]], replace(FEED, classes=4))
    with pytest.raises(Mistake, match="features of 9"):
        collate_regions([[detected(1, 3)]], replace(FEED, features=9))


def test_a_row_whose_regions_cannot_be_used_shows_another(tmp_path: Path) -> None:
    """In all columns, and it is counted with the reason."""
    for row in range(len(WORDS)):
        one = detected(row, 2)
        numpy.savez(
            tmp_path / f"key{row}.npz",
            features=one.features,
            boxes=one.boxes[:, [2, 1, 0, 3]] if row == 3 else one.boxes,
        )
    batches = loader(model(), open_regions(tmp_path))
    (batch,) = next(batches.read(Plan(len(WORDS), seed=1), 0))
    assert 3 not in batch.image_ids.tolist() and len(set(batch.image_ids.tolist())) == len(WORDS) - 1
    for row, shown in enumerate(batch.image_ids.tolist()):
        assert torch.equal(batch.regions.features[row, 0, :2], torch.from_numpy(detected(shown, 2).features))
    assert list(batches.unreadable()) == ["key3"] and "upside down" in batches.unreadable()["key3"]
    for file in tmp_path.iterdir():
        file.write_bytes(b"PK no zip")
    with pytest.raises(Mistake, match="Not one picture of a whole batch has regions"):
        next(loader(model(), open_regions(tmp_path)).read(Plan(4, seed=1), 0))


def test_codes_without_texts() -> None:
    ids = numpy.arange(24).reshape(6, 4)
    columns = (CodeColumn(ids), NumberColumn("labels", numpy.arange(6) % 2))
    made = Loader(columns, TextTable.none(6), window=0)
    (batch,) = next(made.read(Plan(3, seed=1), 0))
    rows = batch.codes.ids[:, 0] // 4
    assert len(batch) == 3 and batch.texts is None and torch.equal(batch.labels, rows % 2)
