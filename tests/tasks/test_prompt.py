"""The prompt of a captioner: put before every text in training and scoring, given in decoding, left out of captions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from pairloom import model as models
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.generation import Generation, with_prompt
from pairloom.tasks.caption import Captioning, caption
from pairloom.tasks.decode import Writing, decode
from pairloom.tasks.judge import judge
from pairloom.weights import load

WORDS = ["a red bird on a branch", "two dogs", "a picture of a boat"]
SMALL = ("image_size=32", "patch=8", "itc=0", "itm=0", "length=16")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens.train([*WORDS, "a picture of a man's hat"] * 3, 200)


def captioner(tokens: Tokens, *settings: str) -> Model:
    model = models.build("blip", tokens, "tiny", [*SMALL, "prompt_text=a picture of", *settings])
    return dataclasses.replace(model, system=model.system.eval())


def test_every_word_of_a_caption_is_learned(tokens: Tokens) -> None:
    """The loss reads the caption's own words and its end, and none of the prompt's."""
    model = captioner(tokens, "label_smoothing=0")
    batch = model.batch(torch.zeros(1, 3, 32, 32), ["two dogs"])
    prompt, own = tokens.bare(["a picture of", "two dogs"])
    assert batch.texts.ids.tolist() == [[tokens.cls, *prompt, *own, tokens.sep]]
    logits = model.system.logits(batch)[0].log_softmax(-1)
    after = [*own, tokens.sep]
    expected = -logits[len(prompt) : len(prompt) + len(after)].gather(1, torch.tensor(after)[:, None]).mean()
    torch.testing.assert_close(model.system.losses(batch)["lm"], expected)
    assert judge(model.system, batch)[0].item() == pytest.approx(-expected.item(), abs=1e-6)


def test_captions_begin_after_the_prompt(tokens: Tokens) -> None:
    model = captioner(tokens)
    images = torch.rand(2, 3, 32, 32)
    rows = caption(model, images, Captioning("greedy", max_length=10, min_length=6))
    prompt = tokens.bare(["a picture of"])[0]
    batch = model.batch(images)
    plain = decode(model.system, batch, Writing("greedy", max_length=10, min_length=6), prompt)
    assert [row[0].text for row in rows] == [tokens.decode(one[0].tokens) for one in plain]
    (shown,) = caption(
        model, images[:1], Captioning("greedy", max_length=10, min_length=6, prompt="a picture of")
    )
    assert shown[0].text.startswith("a picture of") and not rows[0][0].text.startswith("a picture of")
    assert shown[0].log_probability == pytest.approx(rows[0][0].log_probability, abs=1e-5)
    (free,) = caption(model, images[:1], Captioning("greedy", max_length=10, min_length=6, prompt=""))
    assert free[0].log_probability != rows[0][0].log_probability


def test_the_prompt_is_kept_with_the_model(tokens: Tokens, tmp_path: Path) -> None:
    model = dataclasses.replace(captioner(tokens), generation=Generation(4, 5, 12, "released"))
    models.save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.tokens.prompt == "a picture of" and again.generation == model.generation
    assert again.texts(["two dogs"]).ids.tolist() == model.texts(["two dogs"]).ids.tolist()
    chosen = Captioning.checked(again)
    assert (chosen.beams, chosen.min_length, chosen.max_length, chosen.length_rule) == (4, 5, 12, "released")
    assert Captioning.checked(again, beams=2, min_length=1).beams == 2


def test_folders_of_earlier_versions_get_the_words_of_their_prompt(tokens: Tokens, tmp_path: Path) -> None:
    models.save(captioner(tokens), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    document = json.loads(file.read_text())
    del document["config"]["prompt_text"], document["config"]["prompt_ids"], document["generation"]
    file.write_text(json.dumps(document))
    assert load(tmp_path / "model").tokens.prompt == "a picture of"


def test_a_prompt_without_words_or_room_is_refused(tokens: Tokens) -> None:
    with pytest.raises(Mistake, match="which words stand before a text"):
        models.build("blip", tokens, "tiny", [*SMALL, "prompt=3"])
    with pytest.raises(Mistake, match="leaves no room"):
        models.build("blip", tokens, "tiny", [*SMALL, "prompt_text=a picture of", "length=5"])
    config = models.build("clip", tokens, "tiny").config
    assert with_prompt(config, tokens) == (config, tokens)


def test_a_system_without_a_prompt_does_not_inherit_one(tokens: Tokens) -> None:
    """A model for questions that begins with a captioner's weights and vocabulary reads bare questions."""
    model = models.build("blip_vqa", captioner(tokens).tokens, "tiny")
    assert model.tokens.prompt == "" and model.tokens.rows(["two dogs"], 12) == tokens.rows(["two dogs"], 12)


def test_a_captioner_with_a_prompt_learns_from_the_first_word(tokens: Tokens) -> None:
    """Three pictures, three captions: what is written after training is the whole caption, its first word included."""
    torch.manual_seed(0)
    model = captioner(tokens, "dropout=0", "label_smoothing=0")
    images = torch.randn(3, 3, 32, 32)
    batch = model.batch(images, WORDS)
    model.system.train()
    optimiser = torch.optim.Adam(model.system.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        model.system.losses(batch)["lm"].backward()
        optimiser.step()
    model.system.eval()
    captions = [
        row[0].text for row in caption(model, images, Captioning("greedy", max_length=16, min_length=1))
    ]
    assert captions == WORDS
