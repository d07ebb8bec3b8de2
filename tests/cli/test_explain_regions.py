"""Explanations by regions: weights by hand on a system whose score is a sum over regions, their test, referring, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pairloom
from pairloom.api.model import Model as ApiModel
from pairloom.data.detected import Detected
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.tasks import explain_regions as explaining

TOKENS = Tokens.train(["is there a red ball", "two blue cats"] * 4, 120)
NAMES = ("yes", "no", "red", "two", "left", "a cat")
WORTH = np.array([0.5, -1.0, 2.0, 0.25], np.float32)


def regions(count: int = 4) -> Detected:
    """Regions whose first feature says what each adds to the score."""
    corner = np.linspace(0, 0.5, count)[:, None].repeat(2, 1)
    features = np.random.default_rng(1).normal(size=(count, 24))
    features[:, 0] = WORTH[:count]
    chances = np.full((count, 7), 1 / 7)
    return Detected(features, np.concatenate([corner, corner + 0.4], 1), chances)


@pytest.fixture(scope="module")
def model() -> Model:
    made = build("lxmert", TOKENS, "tiny", seed=1)
    return replace(made, system=type(made.system)(replace(made.config, answer_list=NAMES)).eval())


@pytest.fixture()
def summed(model: Model, monkeypatch: Any) -> Model:
    """The same model, whose match and first answer are the sum of what its shown regions are worth."""

    def total(batch: Any) -> torch.Tensor:
        regions = batch.regions
        return (regions.features[..., 0] * regions.mask).sum((1, 2))

    def answers(batch: Any) -> torch.Tensor:
        logits = torch.full((len(batch.regions), 6), -30.0)
        logits[:, 4] = total(batch)
        logits[:, 5] = 0.0
        return logits

    monkeypatch.setattr(model.system, "match", total)
    monkeypatch.setattr(model.system, "answer_logits", answers)
    monkeypatch.setattr(model.system, "encode_image", lambda batch: batch)
    monkeypatch.setattr(
        model.system,
        "encode_texts",
        lambda batch: replace(batch, encoded_text=torch.zeros(*batch.texts.ids.shape, 1)),
    )
    return model


def test_a_region_counts_by_how_far_the_score_falls_without_it(summed: Model) -> None:
    result = explaining.explain_regions(summed, regions(), "a red ball")
    assert (result.by, result.answer) == ("match head", "") and result.score == pytest.approx(1.75)
    torch.testing.assert_close(result.weights, torch.from_numpy(WORTH))
    torch.testing.assert_close(result.boxes, torch.from_numpy(regions().boxes))


def test_a_question_is_explained_by_its_answer(summed: Model) -> None:
    result = explaining.explain_regions(summed, regions(), "is there a red ball?")
    assert (result.by, result.answer) == ("answer", "left")
    left = [1.75, *(1.75 - WORTH)]
    sigmoid = torch.tensor(left).sigmoid().log()  # of two answers with a chance
    torch.testing.assert_close(result.weights, sigmoid[0] - sigmoid[1:], atol=1e-5, rtol=1e-4)


def test_the_best_regions_are_hidden_in_the_deletion_test(summed: Model) -> None:
    result = explaining.explain_regions(summed, regions(), "a red ball")
    one, two = explaining.faithfulness(summed, regions(), result, shares=(0.25, 0.5), times=200)
    assert (one.first, two.first) == pytest.approx((1.75 - 2.0, 1.75 - 2.5))
    assert one.random == pytest.approx(1.75 - WORTH.mean(), abs=0.3)  # five standard errors of 200 draws
    assert one.rank > 0.8 and two.rank > 0.8


def test_a_text_refers_to_the_region_that_it_fits_alone(summed: Model) -> None:
    result = explaining.refer(summed, regions(), "a red ball")
    torch.testing.assert_close(result.weights, torch.from_numpy(WORTH))
    best = ApiModel.of(summed).boxes(regions(), "a red ball")
    assert [one.region for one in best] == [2, 0, 3, 1] and best[0].box == pytest.approx(
        tuple(regions().boxes[2])
    )


def test_a_statement_is_explained_by_its_truth() -> None:
    model = build("uniter", TOKENS, "tiny", ["pictures=1", "matches=true"], seed=1)
    result = explaining.explain_regions(model, regions(), "there is a red ball")
    texts = model.texts(["there is a red ball"])
    with torch.no_grad():
        batch = replace(model.batch([regions()]), texts=texts)
        whole = model.system.match(batch)
        hidden = batch.regions.mask.clone()
        hidden[..., 1] = False
        without = model.system.match(replace(batch, regions=replace(batch.regions, mask=hidden)))
    assert result.by == "truth" and result.score == pytest.approx(float(whole), abs=1e-5)
    assert float(result.weights[1]) == pytest.approx(float(whole - without), abs=1e-5)


def test_a_written_answer_is_explained_by_its_likelihood() -> None:
    model = build("vl_t5", TOKENS, "tiny", ["features=24"], seed=1)
    result = explaining.explain_regions(model, regions(), "is there a ball?")
    assert result.by == "answer" and result.weights.shape == (4,) and result.score < 0


def test_on_the_command_line(tmp_path: Path, model: Model, call: Any) -> None:
    save(model, tmp_path / "lxmert")
    folder = tmp_path / "regions"
    folder.mkdir()
    for name, count in (("one", 1), ("four", 4)):
        np.savez(folder / f"{name}.npz", **vars(regions(count)))
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{name}.png")
    picture, more = tmp_path / "four.png", ("--model", tmp_path / "lxmert", "--regions", folder, "--json")
    code, out, _ = call("ask", picture, "is there a ball?", *more)
    assert code == 0 and json.loads(out)["answers"][0]["text"] in NAMES
    code, out, _ = call("ask", picture, "a red ball", "--boxes", *more)
    boxes = json.loads(out)["boxes"]
    assert code == 0 and sorted(one["region"] for one in boxes) == [0, 1, 2, 3]
    assert [one["score"] for one in boxes] == sorted((one["score"] for one in boxes), reverse=True)
    figure = tmp_path / "figure.png"
    code, out, _ = call("explain", picture, "is there a ball?", *more, "--out", figure, "--checks", 3)
    facts = json.loads(out)
    assert code == 0 and facts["answer"] in NAMES and len(facts["boxes"]) == 4 and figure.exists()
    assert [one["share"] for one in facts["faithfulness"]] == [0.1, 0.2, 0.3]
    code, out, _ = call(
        "explain", picture, "a ball", *more[:-1], "--out", tmp_path / "page.html", "--checks", 0
    )
    assert code == 0 and "explained by its boxes" in out
    assert (tmp_path / "page.html").read_text().count("<figure>") == 2
    for words, reason in (
        ((tmp_path / "one.png", "is there a ball?"), "has one region"),
        ((picture, "a ball", "--way", "attention"), "cannot be explained by attention"),
        ((picture, "a ball", "--by", "cosine"), "cannot score by cosine"),
        ((picture, "a ball " * 20), "longer than the"),
        ((picture,), "nothing to explain"),
        ((tmp_path / "none.png", "a ball"), "no regions of it"),
    ):
        code, _, printed = call("explain", *words, *more[:-1])
        assert code == 2 and reason in " ".join(printed.split()), reason


def test_pixels_have_no_boxes(tmp_path: Path) -> None:
    save(build("clip", TOKENS, "tiny"), tmp_path / "clip")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    with pytest.raises(Mistake, match="has no boxes"):
        pairloom.load(tmp_path / "clip").boxes(tmp_path / "a.png", "a ball")
