"""Salesforce's and LAVIS's .pth files: sizes and sharing told by the shapes, momentum and queues left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from published import TEXTS, bert_tokens, scatter  # noqa: E402

import pairloom  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, at_size, build  # noqa: E402
from pairloom.tasks.caption import Captioning  # noqa: E402
from pairloom.verbs import able, ways  # noqa: E402
from pairloom.weights.salesforce import to_salesforce  # noqa: E402

SIZES = ["width=64", "heads=1", "image_width=64", "image_heads=1", "queue=0", "momentum=0", "image_size=48"]


def model_of(*settings: str) -> Model:
    model = build("blip", bert_tokens(), "tiny", [*SIZES, *settings]).eval()
    scatter(model.system, 6)
    return model


def publish(model: Model, where: Path, parts: tuple[str, ...] = ("",), bare: bool = False) -> Path:
    """A file as they wrote it: tied names twice, momentum copies, queues, position ids."""
    tensors = {name: tensor for name, tensor in to_salesforce(model.system).items() if name.startswith(parts)}
    extra = {
        "visual_encoder_m.cls_token": torch.zeros(1, 1, 64),
        "text_encoder.embeddings.position_ids": torch.arange(16)[None],
        "image_queue": torch.zeros(4, 4),
        "queue_ptr": torch.zeros(1),
    }
    where.mkdir()
    if "" not in parts:
        extra = {}
    torch.save(tensors | extra if bare else {"model": tensors | extra, "epoch": 3}, where / "model_base.pth")
    model.tokens.save(where)
    return where / "model_base.pth"


def answers(model: Model, *verbs: str) -> list[torch.Tensor]:
    images = torch.randn(3, 1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    batch = replace(model.batch(texts=TEXTS[:3]), images=images)
    with torch.no_grad():
        return [getattr(model.system, verb)(batch) for verb in verbs]


@pytest.mark.parametrize("sharing", ["all", "all but cross-attention", "all but self-attention", "none"])
def test_a_pretrained_model(tmp_path: Path, sharing: str) -> None:
    model = model_of(f"sharing={sharing}")
    found = pairloom.load(publish(model, tmp_path / "there"))
    assert found.config.sharing == sharing and found.config.image_size == 48
    every = ("match", "embed_image", "embed_text", "logits")
    for one, other in zip(answers(model, *every), answers(found, *every)):
        assert torch.equal(one, other)
    assert torch.equal(found.system.temperature, model.system.temperature)


def test_a_captioner_and_a_matcher(tmp_path: Path) -> None:
    model = model_of("sharing=none")
    captioner = pairloom.load(publish(model, tmp_path / "c", ("visual", "text_decoder"), bare=True))
    assert ways(captioner.system) == ["likelihood"] and able(captioner.system, "match") is None
    assert torch.equal(*answers(model, "logits"), *answers(captioner, "logits"))
    parts = ("visual", "text_encoder", "vision_proj", "text_proj", "itm_head", "temp")
    matcher = pairloom.load(publish(model, tmp_path / "m", parts))
    assert ways(matcher.system) == ["match head", "cosine"] and able(matcher.system, "caption") is None
    for one, other in zip(answers(model, "match", "embed_text"), answers(matcher, "match", "embed_text")):
        assert torch.equal(one, other)


def test_positions_are_interpolated_for_another_size(tmp_path: Path) -> None:
    """From 6 x 6 patches to 3 x 3: the class row stays, a constant grid stays constant, the rest is copied."""
    model = model_of()
    with torch.no_grad():
        model.system.towers.image.embed.positions[:, 1:] = 0.25
    found = at_size(pairloom.load(publish(model, tmp_path / "there")), 24)
    table = found.system.towers.image.embed.positions
    assert table.shape == (1, 10, 64) and found.pixels.size == 24 and found.config.image_size == 24
    assert torch.equal(table[:, 0], model.system.towers.image.embed.positions[:, 0])
    torch.testing.assert_close(table[:, 1:], torch.full((1, 9, 64), 0.25))
    assert torch.equal(found.system.match_head.weight, model.system.match_head.weight)
    with pytest.raises(Mistake, match="cannot read pictures of 25 px"):
        at_size(found, 25)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update({"cls_head.0.weight": torch.zeros(2, 2)}), "does not fit"),
        (lambda told: told.pop("itm_head.weight") is told.pop("itm_head.bias"), "Not known here: temp"),
        (lambda told: [told.pop(name) for name in list(told) if "text_" in name], "BLIP of another task"),
        (lambda told: told.pop("vision_proj.bias"), "Missing: towers.image_projection.bias"),
        (lambda told: told.update({"adapter": torch.zeros(1)}), "Not known here: adapter"),
        (lambda told: told.update({"text_proj.weight": torch.zeros(3, 64)}), "does not fit"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, said: str) -> None:
    file = publish(model_of(), tmp_path / "there")
    tensors = torch.load(file, weights_only=True)["model"]
    change(tensors)
    torch.save({"model": tensors}, file)
    with pytest.raises(Mistake, match=said):
        pairloom.load(file)


def test_a_vocabulary_of_another_model(tmp_path: Path) -> None:
    file = publish(model_of(), tmp_path / "there")
    type(bert_tokens()).train(["b"] * 9, 64).save(tmp_path / "there")
    with pytest.raises(Mistake, match="another model's"):
        pairloom.load(file)


def with_words() -> Tokens:
    """A vocabulary in which each word of the released prompt is one token, as in BERT's."""
    return Tokens.train([*TEXTS, "a picture of a dog"] * 20, 200)


def test_a_captioner_has_the_released_recipe(tmp_path: Path) -> None:
    """Its prompt, its lengths, its beams and their length rule; other options come first. Texts are cleaned as in training, and
    all of it stays in a folder of ours."""
    model = build("blip", with_words(), "tiny", [*SIZES, "sharing=none"]).eval()
    scatter(model.system, 6)
    captioner = pairloom.load(publish(model, tmp_path / "c", ("visual", "text_decoder")))
    captioner.save(tmp_path / "ours")
    for one in (captioner, pairloom.load(tmp_path / "ours")):
        assert (one.config.prompt, one.tokens.prompt) == (3, "a picture of")
        options = Captioning.checked(one, max_length=12)
        assert (options.beams, options.min_length, options.length_rule) == (3, 5, "released")
        assert one.generation.max_length == 20
        assert Captioning.checked(one, max_length=12, min_length=2, length_rule="sum").length_rule == "sum"
        words = one.texts(["A red square. (Two: cats!)"]).ids
        assert words.tolist() == one.texts(["a red square   two  cats"]).ids.tolist()
        assert words[0, 1:4].tolist() == list(one.config.prompt_ids)
    with pytest.raises(Mistake, match="length_rule is sum or released"):
        Captioning.checked(captioner, max_length=12, length_rule="mean")


def test_a_vocabulary_without_the_words_of_the_prompt_has_none(tmp_path: Path) -> None:
    model = model_of("sharing=none")
    captioner = pairloom.load(publish(model, tmp_path / "c", ("visual", "text_decoder")))
    assert captioner.tokens.prompt == "" and captioner.config.prompt == 0


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "model.module."]
)
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    """torch.compile, DistributedDataParallel and Lightning write them before every name."""
    model = model_of()
    file = publish(model, tmp_path / "there", bare=True)
    tensors = {f"{prefix}{name}": tensor for name, tensor in torch.load(file, weights_only=True).items()}
    torch.save({"state_dict": tensors}, file)
    again = pairloom.load(file)
    assert torch.equal(*answers(model, "match"), *answers(again, "match"))
