"""api.Model: every method from pictures and texts as a person has them to plain results on the CPU."""

from __future__ import annotations

import io
from pathlib import Path

import numpy
import pytest
from PIL import Image

import pairloom
from pairloom.api.model import Model
from pairloom.api.results import Drawing, Embeddings, Scores
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build, save
from pairloom.tasks.answer import Answer
from pairloom.tasks.caption import Caption
from pairloom.tasks.classify import Label

WORDS = ["a red square on grass", "two blue circles", "is it a green star yes no"]


def picture(seed: int) -> Image.Image:
    draw = numpy.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=numpy.uint8))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("api")
    tokens = Tokens.train(WORDS * 3, 120)
    for name in ("blip", "clip", "blip_vqa", "blip_nlvr", "blip_visdial"):
        save(build(name, tokens, "tiny"), root / name)
    for at in range(3):
        picture(at).save(root / f"{at}.png")
    return root


@pytest.fixture(scope="module")
def blip(place: Path) -> Model:
    return pairloom.load(place / "blip", device="cpu")


def test_a_first_caption_takes_two_lines(place: Path) -> None:
    model = pairloom.load(place / "blip")
    assert isinstance(model.caption(place / "0.png"), Caption)
    assert not model.system.training and "abilities: " in repr(model) and "match" in model.abilities


def test_a_picture_is_a_path_bytes_an_image_or_an_array(place: Path, blip: Model) -> None:
    stream = io.BytesIO()
    picture(0).save(stream, "PNG")
    array = numpy.asarray(picture(0))
    forms = [
        place / "0.png",
        str(place / "0.png"),
        stream.getvalue(),
        picture(0),
        array,
        picture(0).convert("RGBA"),
    ]
    scores = [blip.match(one, "a red square") for one in forms]
    assert len({float(one) for one in scores}) == 1
    batch = numpy.stack([array, numpy.asarray(picture(1))])
    assert blip.match(batch, "a red square").values.shape == (2, 1)
    grey = blip.match([array[..., 0], array[..., :1]], "a red square").values
    assert grey[0] == grey[1] != scores[0].values


def test_match_scores_every_text_with_every_picture(blip: Model) -> None:
    images, texts = [picture(at) for at in range(10)], ["a red square", "two blue circles", "a star"]
    table = blip.match(images, texts)
    assert table.values.shape == (10, 3) and table.by == blip.scores_by[0] == "match head"
    for at in (0, 9):
        row = blip.match(images[at], texts)
        numpy.testing.assert_allclose(row.values, table.values[at], atol=1e-5)
        assert row.best == table.best[at] == texts[int(row.values.argmax())]
    every = blip.match_all(images[:2], texts)
    assert tuple(one.by for one in every) == blip.scores_by and len(every) > 1
    cosines = next(one for one in every if one.by == "cosine")
    embedded = blip.embed(images[:2], texts)
    numpy.testing.assert_allclose(cosines.values, embedded.similarity, atol=1e-5)
    assert "match head" in repr(table) and "two blue circles" in blip.match(images[0], texts)._repr_html_()
    with pytest.raises(Mistake, match="denoising"):
        blip.match(images[0], texts, by="denoising error")


def test_a_text_that_is_cut_is_named(blip: Model) -> None:
    scores = blip.match(picture(0), ["a star", "a red square " * 50])
    assert (scores.cut.texts, scores.cut.reads) == (1, blip.config.length)
    assert scores.cut.longest == len(blip.tokens.rows(["a red square " * 50], 10**6)[0]) > scores.cut.reads
    assert blip.embed(texts=["a star " * 99]).cut.texts == 1 and not blip.embed(texts=["a star"]).cut
    with pytest.warns(UserWarning, match="1 text is longer than the model reads"):
        blip.classify(picture(0), ["a star", "square " * 99], template="name")


def test_embeddings_are_unit_vectors(blip: Model) -> None:
    images = blip.embed(images=[picture(0), picture(1)])
    assert isinstance(images, Embeddings) and images.texts is None
    numpy.testing.assert_allclose(numpy.linalg.norm(numpy.asarray(images), axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="needs images and texts"):
        images.similarity  # noqa: B018
    with pytest.raises(Mistake, match="nothing to embed"):
        blip.embed()


def test_captions_come_one_for_one(blip: Model) -> None:
    one = blip.caption(picture(0), beams=2, max_length=8)
    several = blip.caption([picture(0), picture(1)], beams=2, several=2, max_length=8)
    assert str(one) == one.text == several[0][0].text and len(several) == 2
    drawn = [
        blip.caption([picture(1), picture(0)][:at], way="nucleus", seed=3, max_length=8)[0] for at in (1, 2)
    ]
    assert drawn[0].text == drawn[1].text  # what is drawn for a picture depends on nothing beside it
    with pytest.raises(Mistake, match="no way of writing 'beems'"):
        blip.caption(picture(0), way="beems")


def test_questions_are_answered(place: Path) -> None:
    model = pairloom.load(place / "blip_vqa", device="cpu")
    images = [picture(0), picture(1)]
    one = model.answer(images[0], "Is it a star?", choices=["yes", "no"])
    assert isinstance(one, Answer) and one.text in ("yes", "no")
    same = model.answer(images, "Is it a star?", choices=["yes", "no"])
    both = model.answer(images, ["Is it a star?", "is it red"], choices=["yes", "no"], several=2)
    assert same[0] == one and [len(row) for row in both] == [2, 2] and both[0][0] == one
    assert len(model.answer(images[0], ["a star?", "red?", "green?"])) == 3
    with pytest.raises(ValueError, match="2 pictures and 3 questions"):
        model.answer(images, ["a?", "b?", "c?"])
    with pytest.raises(Mistake, match="longer than the"):
        model.answer(images[0], "is it " * 40)


def test_classes_are_ranked(blip: Model) -> None:
    labels = blip.classify(picture(0), ["star", "square", "circle"], top=2)
    assert (
        all(isinstance(one, Label) for one in labels)
        and labels[0].share >= labels[1].share
        and len(labels) == 2
    )
    assert blip.classify([picture(0)], ["star", "square", "circle"], top=2)[0][0].name == labels[0].name
    with pytest.raises(Mistake, match="nothing to choose between"):
        blip.classify(picture(0), ["star"])


def test_statements_and_dialogs(place: Path) -> None:
    model = pairloom.load(place / "blip_nlvr", device="cpu")
    verdict = model.reason([picture(0), picture(1)], "two stars")
    assert verdict.true == (verdict.chance > 0.5)
    rows = model.reason([[picture(0), picture(1)], [picture(1), picture(0)]], ["two stars", "two stars"])
    assert rows[0].chance == pytest.approx(verdict.chance, abs=1e-5)
    with pytest.raises(Mistake, match="2 pictures, not 1"):
        model.reason(place / "0.png", "two stars")
    talker = pairloom.load(place / "blip_visdial", device="cpu")
    ranking = talker.dialog(picture(0), "is it red", ["yes", "no", "yes"], history=[("a star ?", "no")])
    assert set(ranking.texts) == {"yes", "no"} and ranking.scores[0] >= ranking.scores[1]


def test_an_explanation_has_a_figure(blip: Model, tmp_path: Path) -> None:
    found = blip.explain(picture(0), "a red square", checks=3)
    assert (
        found.words == ("a", "red", "square") and found.maps.shape[0] == 3 and found.by in found._repr_html_()
    )
    assert found.figure().size[0] > 200 and found.save(tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(Mistake, match="exists already"):
        found.save(tmp_path / "a.png")
    with pytest.raises(Mistake, match="neither a picture nor a page"):
        found.save(tmp_path / "a.txt")


def test_what_a_model_cannot_do_is_said_with_what_it_can(place: Path) -> None:
    clip, nlvr = (pairloom.load(place / name, device="cpu") for name in ("clip", "blip_nlvr"))
    for ask in (
        lambda: clip.caption(picture(0)),
        lambda: clip.answer(picture(0), "is it red"),
        lambda: clip.draw("a star"),
        lambda: clip.prompt(picture(0), [(picture(1), "a star")]),
        lambda: clip.dialog(picture(0), "is it", ["yes"]),
        lambda: clip.reason([picture(0)], "two stars"),
        lambda: nlvr.match(picture(0), "a star"),
        lambda: nlvr.embed(texts="a star"),
        lambda: nlvr.caption(picture(0)),
    ):
        with pytest.raises(Mistake) as caught:
            ask()
        assert any(word in str(caught.value) for word in ("match", "embed", "reason", "statement")), (
            caught.value
        )


def test_pictures_that_cannot_be_read(blip: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for bad in (
        tmp_path / "a.png",
        tmp_path / "gone.png",
        b"no picture",
        numpy.zeros((2, 2, 7), numpy.uint8),
    ):
        with pytest.raises(Mistake, match="cannot be read"):
            blip.match(bad, "a star")
    with pytest.raises(Mistake, match="no picture"):
        blip.match([], "a star")
    with pytest.raises(Mistake, match="no text"):
        blip.match(picture(0), [])


def test_a_device_that_is_not_there(place: Path) -> None:
    import torch

    assert pairloom.load(place / "clip", device="cpu").device.type == "cpu"
    for name in ("warp", *(() if torch.cuda.is_available() else ("cuda",))):
        with pytest.raises(Mistake, match=f"no device '{name}'"):
            pairloom.load(place / "clip", device=name)


def test_results_are_small_and_frozen() -> None:
    scores = Scores(numpy.array([0.1, 0.9]), "cosine", ("a", "<b>"))
    assert scores.best == "<b>" and "&lt;b&gt;" in scores._repr_html_() and numpy.asarray(scores).sum() == 1.0
    with pytest.raises(ValueError):
        float(scores)
    drawing = Drawing("a star", Image.new("RGB", (4, 4)), 3)
    assert repr(drawing) == "Drawing(text='a star', seed=3)" and "data:image/png" in drawing._repr_html_()
