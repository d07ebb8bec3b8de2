"""Weights whose numbers overflow: every verb says so, and none answers with NaN, black pictures or empty captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pairloom
from pairloom import model as models
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake

TEXTS = ["a red bird on a branch", "two dogs", "a boat on the sea"]
PICTURES = [Image.fromarray(np.full((40, 40, 3), grey, np.uint8)) for grey in (0, 120, 250)]

ASKED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "match": ("blip", lambda model: model.match(PICTURES, TEXTS)),
    "cosine": ("clip", lambda model: model.match(PICTURES, TEXTS)),
    "greedy": ("blip", lambda model: model.caption(PICTURES, way="greedy")),
    "beam": ("coca", lambda model: model.caption(PICTURES)),
    "nucleus": ("blip", lambda model: model.caption(PICTURES, way="nucleus")),
    "embed pictures": ("clip", lambda model: model.embed(images=PICTURES)),
    "embed texts": ("clip", lambda model: model.embed(texts=TEXTS)),
    "classify": ("clip", lambda model: model.classify(PICTURES, ["dog", "cat"])),
    "answer": ("blip_vqa", lambda model: model.answer(PICTURES[0], "how many?")),
    "choices": ("blip_vqa", lambda model: model.answer(PICTURES[0], "how many?", choices=["one", "two"])),
    "reason": ("blip_nlvr", lambda model: model.reason([PICTURES[:2]], ["there are two dogs"])),
    "explain": ("blip", lambda model: model.explain(PICTURES[0], TEXTS[0])),
}


def overflown(name: str) -> Any:
    """A small model one of whose weights is NaN, in every tower."""
    tokens = Tokens.train(TEXTS * 3, 200)
    settings = [] if name == "clip" else ["queue=0"] if name == "blip" else []
    model = models.build(name, tokens, "tiny", settings)
    with torch.no_grad():
        for part, parameter in model.system.named_parameters():
            if part.endswith("norm.weight"):
                parameter[0] = float("nan")
    return pairloom.api.model.Model.of(model)


@pytest.mark.parametrize("verb", ASKED)
def test_numbers_that_are_not_finite_are_a_mistake(verb: str) -> None:
    name, ask = ASKED[verb]
    with pytest.raises(Mistake, match="not finite"):
        ask(overflown(name))


def test_no_table_and_no_file_of_scores(tmp_path: Path) -> None:
    """`score` used to call every picture unreadable."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number, (picture, text) in enumerate(zip(PICTURES, TEXTS)):
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(text)
    models.save(overflown("clip"), tmp_path / "model")
    with pytest.raises(Mistake, match="not finite"):
        pairloom.open(folder).score(tmp_path / "model", tmp_path / "scores.parquet")
    with pytest.raises(Mistake, match="not finite"):
        pairloom.open(folder).embed(tmp_path / "model", tmp_path / "rows.parquet")
    assert not (tmp_path / "scores.parquet").exists() and not (tmp_path / "rows.parquet").exists()
