"""The model `ridge`: trained in closed form, saved, loaded, and asked for everything that embeddings answer."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pairloom
from pairloom.clean.judges import open_judge
from pairloom.errors import Mistake
from pairloom.regression.pixels import TwoViews, byte_tokens
from pairloom.search.index import Index
from pairloom.towers.preparation import Preparation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clean"))
colours = importlib.import_module("colours")
KINDS = [("red", "plain"), ("blue", "striped"), ("green", "dotted"), ("yellow", "plain")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the set `raw`, and the model `ridge` that was trained on it."""
    root = tmp_path_factory.mktemp("ridge")
    colours.write(root / "raw", 150, bad=0)
    pairloom.train("ridge", root / "raw", root / "ridge", image_tower="none", text_tower="none", device="cpu")
    return root


def pictures() -> list[bytes]:
    """A new picture of each kind."""
    return [colours.picture(*kind, seed=10**6 + at) for at, kind in enumerate(KINDS)]


def texts() -> list[str]:
    return [colours.said(*kind) for kind in KINDS]


def test_pictures_and_texts_are_embedded_in_one_space(root: Path) -> None:
    model = pairloom.load(root / "ridge", device="cpu")
    assert model.abilities == {"embed"} and "ridge" in repr(model)
    embedded = model.embed(pictures(), texts())
    assert embedded.images.shape == embedded.texts.shape == (4, model.config.embedding)
    assert np.allclose(np.linalg.norm(embedded.images, axis=1), 1, atol=1e-5)
    assert np.array_equal(embedded.similarity.argmax(1), np.arange(4))
    joint, space = model.system.joint, model.system.space
    by_hand = joint.texts(space.texts(texts(), model.system.encoders.sentences(texts()))).numpy()
    assert np.allclose(embedded.texts, by_hand, atol=1e-6)
    one = model.embed(pictures()[2], texts()[1])
    assert np.allclose(one.images[0], embedded.images[2], atol=1e-6)
    assert np.allclose(one.texts[0], embedded.texts[1], atol=1e-6)


def test_scores_of_pairs_are_comparable_across_pictures(root: Path) -> None:
    """Right pairs of all pictures are above wrong ones of all, by one number for a pair; and `score` gives that number."""
    model = pairloom.load(root / "ridge", device="cpu")
    table = model.match(pictures(), texts()).values
    right = np.eye(4, dtype=bool)
    assert table[right].min() > table[~right].max()
    scores = open_judge(root / "ridge").scores(pictures(), texts())
    assert np.allclose(scores, table[right], atol=1e-5)


def test_what_is_saved_says_the_same(root: Path, tmp_path: Path) -> None:
    model = pairloom.load(root / "ridge", device="cpu")
    again = pairloom.load(model.save(tmp_path / "copy"), device="cpu")
    before, after = (each.embed(pictures(), texts()) for each in (model, again))
    assert np.array_equal(before.images, after.images) and np.array_equal(before.texts, after.texts)
    assert again.about == model.about and 0 <= model.about["metrics"]["text to image R@1"] <= 1
    assert "efficientnet" not in (tmp_path / "copy" / "README.md").read_text()


def test_it_classifies_retrieves_and_searches(root: Path, tmp_path: Path) -> None:
    model = pairloom.load(root / "ridge", device="cpu")
    labels = model.classify(pictures(), texts(), template="name", top=1)
    assert [each[0].name for each in labels] == texts()
    test = colours.write(tmp_path / "test", 40, bad=0)
    metrics = model.retrieve(test).metrics
    assert metrics["text to image"]["R@10"].value > 0.6  # chance: 10 of 40, and many are of one kind
    pairloom.open(test).index(tmp_path / "album", root / "ridge", device="cpu")
    with Index(tmp_path / "album") as album:
        best = album.search("a plain red wall", top=3).results
        with pytest.raises(Mistake, match="a ridge, has no match head"):
            album.search("a plain red wall", rerank=3)
    assert all("red" in one.texts[0] for one in best)


def test_pictures_are_found_by_a_picture(root: Path, tmp_path: Path) -> None:
    test = colours.write(tmp_path / "test", 40, bad=0)
    (tmp_path / "red.png").write_bytes(colours.picture("red", "plain", 10**6))
    pairloom.open(test).index(tmp_path / "album", root / "ridge", device="cpu")
    with Index(tmp_path / "album") as album:
        assert "red" in album.search(str(tmp_path / "red.png"), top=1).results[0].texts[0]


def test_a_tower_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root / "ridge", tmp_path / "copy")
    known = json.loads((copy / "encoders.json").read_text())
    (copy / "encoders.json").write_text(json.dumps({**known, "image_tower": "gone/tower"}))
    with pytest.raises(Mistake, match="a tower that is not here") as mistake:
        pairloom.load(copy)
    assert "gone/tower" in str(mistake.value)
    (copy / "encoders.json").write_text(json.dumps({**known, "identity": "another"}))
    with pytest.raises(Mistake, match="other weights"):
        pairloom.load(copy)
    (copy / "ridge.safetensors").unlink()
    (copy / "encoders.json").write_text(json.dumps(known))
    with pytest.raises(Mistake, match="not whole"):
        pairloom.load(copy)


def test_training_by_steps_has_other_options(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="has no settings"):
        pairloom.train("ridge", root / "raw", tmp_path / "out", epochs=3)
    with pytest.raises(Mistake, match="no pretrained text tower"):
        pairloom.train("clip", root / "raw", tmp_path / "out", preset="tiny", text_tower="none")
    with pytest.raises(Mistake, match="holds a model already"):
        pairloom.train("ridge", root / "raw", root / "ridge", image_tower="none", text_tower="none")
    few = colours.write(tmp_path / "few", 10)
    with pytest.raises(Mistake, match="10 pictures"):
        pairloom.train("ridge", few, tmp_path / "out", image_tower="none", text_tower="none")
    with pytest.raises(Mistake, match="no image tower"):
        pairloom.train("ridge", few, tmp_path / "none", image_tower="gone/tower")
    assert not (tmp_path / "none").exists()


def test_it_cannot_be_explained_by_cells_of_a_picture(root: Path) -> None:
    model = pairloom.load(root / "ridge", device="cpu")
    for text in ("a plain red wall", ""):
        with pytest.raises(Mistake, match="cannot be explained"):
            model.explain(pictures()[0], text)


def test_what_it_cannot_do_is_refused_by_its_name(root: Path) -> None:
    with pytest.raises(Mistake, match="This ridge cannot"):
        pairloom.load(root / "ridge", device="cpu").caption(pictures()[0])


def test_both_views_of_a_picture_lie_side_by_side() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3)).astype(np.uint8))
    tower = Preparation(40, resize=44)
    views = TwoViews.of(24, tower)
    pixels = views.to_uint8(picture)
    assert pixels.shape == (40, 64, 3)
    shown, small = views.parts(pixels[None])
    assert (
        shown is not None
        and np.array_equal(shown[0], tower.to_uint8(picture))
        and small.shape == (1, 24, 24, 3)
    )
    assert np.array_equal(np.round(views.normalise(pixels) * 255).astype(np.uint8).transpose(1, 2, 0), pixels)
    alone = TwoViews.of(24, None)
    assert alone.parts(alone.to_uint8(picture)[None])[0] is None


def test_texts_are_read_as_bytes() -> None:
    tokens = byte_tokens()
    texts = ["A red-ball, Öl!", "赤い球 🙂", "", "[PAD]"]
    ids, mask = tokens.encode(texts, 100)
    assert mask.sum(1).tolist() == [len(text.encode()) for text in texts]
    assert [tokens.decode(row[real]) for row, real in zip(ids, mask)] == texts
