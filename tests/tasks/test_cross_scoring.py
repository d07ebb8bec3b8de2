"""Texts scored with every picture by fusion encoders: what can be computed once is, and the scores are those of the naive loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pairloom.data.batch import Batch
from pairloom.data.detected import Detected
from pairloom.data.tokens import Tokens
from pairloom.model import Model, build
from pairloom.tasks.judge import judge, score_table

TEXTS = ["a red ball", "two blue cats", "a red ball on the green grass", "cats", "a red ball"]
TOKENS = Tokens.train(TEXTS * 3, 100)
REGIONS = {"lxmert": 1, "vilbert": 1, "interbert": 1, "uniter": 1, "vlp": 1, "lemon": 0}
WAYS = {"vlp": "likelihood", "lemon": "likelihood"}


def model_of(name: str) -> Model:
    model = build(name, TOKENS, "tiny", ["tasks=8"] if name == "vilbert" else [], seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.system.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.system.eval()
    return model


def pictures_of(model: Model, name: str, count: int = 3) -> list[Any]:
    if name not in REGIONS:
        return list(torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(3)))
    draw, pictures = np.random.default_rng(4), []
    for regions in (3, 1, 4)[:count]:
        corner = draw.random((regions, 2)) / 2
        chances = np.full((regions, 7), 1 / 7) if REGIONS[name] else None
        pictures.append(
            Detected(draw.normal(size=(regions, 24)), np.concatenate([corner, corner + 0.4], 1), chances)
        )
    return pictures


def naive(model: Model, pictures: list[Any], way: str) -> np.ndarray:
    """Each pair by itself, nothing shared."""
    rows = []
    for picture in pictures:
        shown = picture[None] if isinstance(picture, torch.Tensor) else [picture]
        rows.append([float(judge(model.system, model.batch(shown, [text]), way)[0]) for text in TEXTS])
    return np.array(rows)


@pytest.mark.parametrize("name", [*REGIONS, "pixel_bert", "albef"])
def test_cached_scores_are_those_of_the_naive_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, way = model_of(name), WAYS.get(name, "match head")
    pictures = pictures_of(model, name)
    system, counts = model.system, {"texts": 0, "pictures": 0}
    expected = naive(model, pictures, way)
    for method, side in (("encode_texts", "texts"), ("encode_image", "pictures")):
        if method == "encode_texts" and way == "likelihood":
            continue
        whole = getattr(system, method)

        def counted(batch: Batch, whole: Any = whole, side: str = side) -> Batch:
            encoded = batch.encoded_text if side == "texts" else batch.encoded
            if encoded is None:
                counts[side] += len(batch.texts if side == "texts" else batch)
            return whole(batch)

        monkeypatch.setattr(system, method, counted)
    shown = torch.stack(pictures) if name not in REGIONS else pictures
    table = score_table(model, shown, TEXTS, [way])[way]
    np.testing.assert_allclose(table, expected, atol=1e-5, rtol=1e-4)
    assert counts["pictures"] == 3 and counts["texts"] == (4 if way == "match head" else 0), "each once"


def test_texts_that_differ_in_padding_alone_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("lxmert")
    batch = model.batch(pictures_of(model, "lxmert", 2), ["a red ball"] * 2 + ["two blue cats"], [0, 1, 1])
    ids = batch.texts.ids.clone()
    ids[1][~batch.texts.mask[1]] = 9
    with torch.no_grad():
        expected = model.system.match(batch)
    scores, _ = judge(model.system, replace(batch, texts=replace(batch.texts, ids=ids)), "match head")
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)
