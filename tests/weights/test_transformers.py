"""Folders of transformers: the same answers, bit-identical round trips, and a reason for everything that does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers")

from published import TEXTS, bert_tokens, blip_folder, clip_folder  # noqa: E402
from transformers import (  # noqa: E402
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    CLIPModel,
    CLIPTokenizer,
)

import pairloom  # noqa: E402
from pairloom import registry  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.verbs import able, ways  # noqa: E402
from pairloom.weights import transformers_blip, transformers_clip  # noqa: E402

NEAR = dict(atol=1e-5, rtol=1e-5)
PICTURES = torch.randn(3, 1, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def edit(where: Path, part: str = "", **changes: Any) -> None:
    """Change entries of config.json; None takes one out."""
    told = json.loads((where / "config.json").read_text())
    inner = told[part] if part else told
    inner.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del inner[name]
    (where / "config.json").write_text(json.dumps(told))


def same_files(one: Path, other: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype and torch.equal(tensor, second[name]), name


def test_clip_goes_round(tmp_path: Path) -> None:
    """In, saved as ours, loaded, and out again: the same bits under the same names, and transformers loads them."""
    clip_folder(tmp_path / "theirs")
    ours = pairloom.save(pairloom.load(tmp_path / "theirs"), tmp_path / "ours")
    model = pairloom.load(ours)
    transformers_clip.export(model, tmp_path / "out")
    same_files(tmp_path / "theirs", tmp_path / "out")
    back = CLIPModel.from_pretrained(tmp_path / "out").eval()
    assert back.config.text_config.eos_token_id == model.tokens.sep
    batch = model.batch(texts=TEXTS[:3])
    with torch.no_grad():
        said = back(
            input_ids=batch.texts.ids, attention_mask=batch.texts.mask.long(), pixel_values=PICTURES[:, 0]
        ).text_embeds
        torch.testing.assert_close(model.system.embed_text(batch), said, **NEAR)
    words = CLIPTokenizer.from_pretrained(tmp_path / "out")
    for text in (*TEXTS[:5], "Two  CATS,\n isn't it?", "naïve 猫"):
        assert words(text)["input_ids"] == model.tokens.rows([text], 200)[0]
    assert (model.pixels.fit, model.pixels.size) == ("crop", 32)
    assert pairloom.load(tmp_path / "out").pixels == model.pixels


@pytest.mark.parametrize("task", ["caption", "match"])
def test_blip_goes_round(tmp_path: Path, task: str) -> None:
    blip_folder(tmp_path / "theirs", task)
    model = pairloom.load(pairloom.save(pairloom.load(tmp_path / "theirs"), tmp_path / "ours"))
    transformers_blip.export(model, tmp_path / "out")
    same_files(tmp_path / "theirs", tmp_path / "out")
    kind = {"caption": BlipForConditionalGeneration, "match": BlipForImageTextRetrieval}[task]
    back, info = kind.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert pairloom.load(tmp_path / "out").pixels == model.pixels and model.pixels.fit == "square"


@torch.no_grad()
def test_a_captioner_writes_and_does_nothing_else(tmp_path: Path) -> None:
    theirs = blip_folder(tmp_path, "caption")
    model = pairloom.load(tmp_path)
    batch = replace(model.batch(texts=TEXTS[:3]), images=PICTURES)
    ids = batch.texts.ids.clone()
    ids[:, 0] = model.tokens.dec
    said = theirs(input_ids=ids, attention_mask=batch.texts.mask.long(), pixel_values=PICTURES[:, 0]).logits
    torch.testing.assert_close(model.system.logits(batch)[batch.texts.mask], said[batch.texts.mask], **NEAR)
    assert ways(model.system) == ["likelihood"]
    assert [one.name for one in model.system.abilities] == ["caption"]
    again = pairloom.load(pairloom.save(model, tmp_path / "ours"))
    assert again.system.abilities == model.system.abilities


@torch.no_grad()
def test_a_matcher_matches_from_enc(tmp_path: Path) -> None:
    theirs = blip_folder(tmp_path, "match")
    model = pairloom.load(tmp_path)
    batch = replace(model.batch(texts=TEXTS[:3]), images=PICTURES)
    given = dict(attention_mask=batch.texts.mask.long(), pixel_values=PICTURES[:, 0])
    cosine = theirs(input_ids=batch.texts.ids, **given, use_itm_head=False).itm_score
    ids = batch.texts.ids.clone()
    ids[:, 0] = model.tokens.enc
    torch.testing.assert_close(
        model.system.match_logits(batch), theirs(input_ids=ids, **given).itm_score, **NEAR
    )
    found = model.system.embed_image(batch) @ model.system.embed_text(batch).T
    torch.testing.assert_close(found, cosine, **NEAR)
    assert ways(model.system) == ["match head", "cosine"] and able(model.system, "caption") is None


def test_old_files_repeat_the_word_table(tmp_path: Path) -> None:
    blip_folder(tmp_path, "caption")
    tensors = load_file(tmp_path / "model.safetensors")
    words = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    old = {
        "text_decoder.cls.predictions.decoder.weight": words.clone(),
        "text_decoder.cls.predictions.decoder.bias": tensors["text_decoder.cls.predictions.bias"].clone(),
        "text_decoder.bert.embeddings.position_ids": torch.arange(40)[None],
    }
    save_file(tensors | old, tmp_path / "model.safetensors")
    model = pairloom.load(tmp_path)
    assert torch.equal(model.system.towers.text.words, words)
    old["text_decoder.cls.predictions.decoder.weight"][0, 0] += 1  # untied: not the model that we hold
    save_file(tensors | old, tmp_path / "model.safetensors")
    with pytest.raises(Mistake, match="differ"):
        pairloom.load(tmp_path)


def _vqa(where: Path) -> None:
    both = {name: tensor for name, tensor in load_file(where / "model.safetensors").items()}
    both |= {
        name.replace("text_decoder.bert.", "text_encoder.", 1): tensor.clone()
        for name, tensor in both.items()
        if name.startswith("text_decoder.bert.")
    }
    save_file(both, where / "model.safetensors")


def _one_less(where: Path) -> None:
    tensors = load_file(where / "model.safetensors")
    del tensors["text_decoder.bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, where / "model.safetensors")


def _one_more(where: Path) -> None:
    tensors = load_file(where / "model.safetensors")
    save_file(tensors | {"text_decoder.adapter.weight": torch.zeros(1)}, where / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda where: edit(where, "text_config", num_attention_heads=None), "lacks text_config.num"),
        (lambda where: edit(where, "vision_config", image_size=64), "contradicts itself"),
        (lambda where: (where / "tokenizer.json").unlink(), "no tokenizer in"),
        (lambda where: type(bert_tokens()).train(["b"] * 9, 64).save(where), "another model's"),
        (_vqa, "does not fit this system"),
        (_one_less, "Missing: towers.text.stack.layers.1.feed"),
        (_one_more, "Not known here: text_decoder.adapter.weight"),
        (lambda where: (where / "model.safetensors").write_bytes(b"x" * 99), "cannot be read as weights"),
        (lambda where: (where / "preprocessor_config.json").write_text('{"size": 384}'), "size: 384"),
    ],
)
def test_a_spoilt_captioner_says_what_is_wrong(spoil: Any, said: str, tmp_path: Path) -> None:
    blip_folder(tmp_path, "caption")
    spoil(tmp_path)
    with pytest.raises(Mistake) as caught:
        pairloom.load(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda where: edit(where, "text_config", hidden_act="gelu"), "differ in hidden_act"),
        (lambda where: edit(where, "text_config", hidden_act="silu") or edit(where, "vision_config", hidden_act="silu"),
         "'silu'"),
        (lambda where: edit(where, "text_config", eos_token_id=7), "another model's"),
        (lambda where: edit(where, "text_config", hidden_size=64), "does not fit this system"),
        (lambda where: edit(where, "vision_config", num_hidden_layers=3), "Missing: image.stack.layers.2"),
        (lambda where: edit(where, "vision_config", num_hidden_layers=1), "Not known here: vision_model.encoder"),
        (lambda where: (where / "model.safetensors").unlink(), "a transformers folder (CLIPModel)"),
    ],
)  # fmt: skip
def test_a_spoilt_clip_says_what_is_wrong(spoil: Any, said: str, tmp_path: Path) -> None:
    clip_folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(Mistake) as caught:
        pairloom.load(tmp_path)
    assert said in str(caught.value)


def test_weights_in_several_files_and_of_half_precision(tmp_path: Path) -> None:
    model = clip_folder(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="40KB")
    assert not (tmp_path / "many" / "model.safetensors").exists()
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / "many" / name).write_bytes((tmp_path / "one" / name).read_bytes())
    one, many = pairloom.load(tmp_path / "one").system, pairloom.load(tmp_path / "many").system
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), many.parameters()))
    tensors = {
        name: tensor.half() for name, tensor in load_file(tmp_path / "one" / "model.safetensors").items()
    }
    save_file(tensors, tmp_path / "one" / "model.safetensors")
    half = pairloom.load(tmp_path / "one").system
    assert all(torch.equal(a, b.half().float()) for a, b in zip(half.parameters(), one.parameters()))


def test_export_writes_over_nothing_and_says_what_cannot_go(tmp_path: Path) -> None:
    clip_folder(tmp_path / "theirs")
    model = pairloom.load(tmp_path / "theirs")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    with pytest.raises(Mistake, match="is not empty"):
        transformers_clip.export(model, tmp_path / "full")
    from pairloom.model import build

    whole = build("blip", bert_tokens(), "tiny")
    with pytest.raises(Mistake, match="--task caption or --task match"):
        transformers_blip.export(whole, tmp_path / "out")
    with pytest.raises(Mistake, match="stem=patch bag=false"):
        transformers_blip.export(
            build("blip", bert_tokens(), "tiny", ["bag=true"]), tmp_path / "out", "match"
        )
    resnet = build("clip", model.tokens, "tiny", ["stages=1,1,1,1", "image_width=16", "image_heads=8"])
    with pytest.raises(Mistake, match="no CLIP with a ResNet"):
        transformers_clip.export(resnet, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_trained_model_of_ours_goes_to_both_classes(tmp_path: Path) -> None:
    """A whole BLIP, encoder and decoder with self-attention of their own, split over the two classes."""
    from pairloom.model import build

    whole = build("blip", bert_tokens(), "tiny").eval()
    assert whole.config.sharing == "all but self-attention"
    for task, kind in (("caption", BlipForConditionalGeneration), ("match", BlipForImageTextRetrieval)):
        transformers_blip.export(whole, tmp_path / task, task)
        theirs, info = kind.from_pretrained(tmp_path / task, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        batch = replace(whole.batch(texts=TEXTS[:3]), images=PICTURES)
        ids = batch.texts.ids.clone()
        ids[:, 0] = whole.tokens.dec if task == "caption" else whole.tokens.enc
        with torch.no_grad():
            given = dict(input_ids=ids, attention_mask=batch.texts.mask.long(), pixel_values=PICTURES[:, 0])
            if task == "caption":
                said, ours = (
                    theirs.eval()(**given).logits[batch.texts.mask],
                    whole.system.logits(batch)[batch.texts.mask],
                )
            else:
                said, ours = theirs.eval()(**given).itm_score, whole.system.match_logits(batch)
        torch.testing.assert_close(ours, said, **NEAR)


def test_every_layout_sniffs_for_itself(tmp_path: Path) -> None:
    """Exactly one layout says yes to a folder, and none to an empty one."""
    clip_folder(tmp_path / "clip")
    blip_folder(tmp_path / "blip", "match")
    layouts = [registry.find("weights", name) for name in registry.names("weights")]
    for where, expected in (("clip", ["transformers_clip"]), ("blip", ["transformers_blip"]), (".", [])):
        found = [
            layout.__name__.rpartition(".")[2]
            for layout in layouts
            if hasattr(layout, "sniff") and layout.sniff(tmp_path / where)
        ]
        assert found == expected


SPELLINGS: dict[str, dict[str, object]] = {
    "class default": {"image_processor_type": "CLIPImageProcessor"},
    "old name alone": {"feature_extractor_type": "CLIPFeatureExtractor"},
    "height and width": {"image_processor_type": "CLIPImageProcessor", "size": {"height": 48, "width": 48}, "do_center_crop": True},
    "numbers": {"image_processor_type": "CLIPImageProcessor", "size": 48, "crop_size": 48},
    "cut out of more": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 54}, "crop_size": 48},
    "squashed, then cut": {
        "image_processor_type": "CLIPImageProcessor", "size": {"height": 56, "width": 56}, "crop_size": 48,
    },
    "longest side": {"image_processor_type": "CLIPImageProcessor", "size": {"longest_edge": 48}, "crop_size": 48},
    "cut out of less": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 40}, "crop_size": 48},
    "blip": {"image_processor_type": "BlipImageProcessor", "size": {"height": 48, "width": 48}},
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 48}, "resample": 3},
    "vit, own mean": {"image_processor_type": "ViTImageProcessor", "size": 48, "resample": 3, "image_mean": [0.1, 0.2, 0.3]},
    "not rescaled": {"image_processor_type": "CLIPImageProcessor", "do_rescale": False},
    "vit's resampling": {"image_processor_type": "ViTImageProcessor", "size": 48},
    "shortest without crop": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 48}, "do_center_crop": False},
    "unknown class": {"image_processor_type": "FlavaImageProcessor"},
}  # fmt: skip
REFUSED = ("longest side", "cut out of less", "not rescaled", "shortest without crop", "unknown class")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_image_processor_means_what_its_class_means(tmp_path: Path, spelling: str) -> None:
    """What a file does not say is the default of the class that it names, as transformers reads it."""
    from pairloom.weights._transformers import pixels_of

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SPELLINGS[spelling]))
    if spelling in REFUSED:
        with pytest.raises(Mistake, match="not supported here"):
            pixels_of(tmp_path, 48, "CLIP")
        return
    from transformers import BlipImageProcessor, CLIPImageProcessor, ViTImageProcessor

    known = dict(SPELLINGS[spelling])
    name = str(known.pop("image_processor_type", known.pop("feature_extractor_type", "")))
    maker = {"C": CLIPImageProcessor, "B": BlipImageProcessor, "V": ViTImageProcessor}[name[0]]
    sizes = {"size": {"shortest_edge": 48}, "crop_size": 48} if name[0] == "C" and "size" not in known else {}
    if "size" in known and "crop_size" not in known and name[0] == "C":
        sizes = {"crop_size": 48}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 160, 3), dtype=np.uint8))
    theirs = maker(**{**known, **sizes})(image, return_tensors="np")["pixel_values"][0]
    transform = pixels_of(tmp_path, 48, "CLIP")
    ours = transform.normalise(transform.to_uint8(image))
    assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 0.02


def test_a_blip_without_an_image_processor_squashes(tmp_path: Path) -> None:
    """`save_pretrained` of model and tokenizer alone writes none; the model's own class squashes pictures, CLIP's crops them."""
    blip_folder(tmp_path / "blip", "match")
    clip_folder(tmp_path / "clip")
    for name, fit in (("blip", "square"), ("clip", "crop")):
        (tmp_path / name / "preprocessor_config.json").unlink(missing_ok=True)
        assert pairloom.load(tmp_path / name).pixels.fit == fit


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("padding", [0, 8])
def test_words_that_a_user_added_are_read(tmp_path: Path, special: bool, padding: int) -> None:
    """Learned words, added as plain or as special tokens; a vocabulary that was padded to a round number. As transformers."""
    clip_folder(tmp_path)
    theirs, words = CLIPModel.from_pretrained(tmp_path).eval(), CLIPTokenizer.from_pretrained(tmp_path)
    words.add_tokens(["<sks>", "<toy>"], special_tokens=special)
    before = theirs.text_model.embeddings.token_embedding.weight
    rows = -(-len(words) // padding) * padding if padding else len(words)
    grown = torch.cat(
        [before, torch.randn(rows - len(before), before.shape[1], generator=torch.Generator().manual_seed(2))]
    )
    theirs.text_model.embeddings.token_embedding = torch.nn.Embedding.from_pretrained(grown.detach())
    theirs.config.text_config.vocab_size = rows
    theirs.save_pretrained(tmp_path), words.save_pretrained(tmp_path)
    texts = ["a photo of <sks>", "<toy> and <sks>", "a red square"]
    with torch.no_grad():
        given = words(texts, padding=True, return_tensors="pt")
        pooled = theirs.text_model(**given).pooler_output
        expected = torch.nn.functional.normalize(theirs.text_projection(pooled), dim=-1).numpy()
    ours = pairloom.load(tmp_path)
    assert np.abs(ours.embed(texts=texts).texts - expected).max() < 1e-5
    ours.save(tmp_path / "ours")
    assert np.abs(pairloom.load(tmp_path / "ours").embed(texts=texts).texts - expected).max() < 1e-5
    assert ours.texts(["<|endoftext|>"]).ids.shape[1] > 3, "what ends a text is text where a text has it"


def test_added_tokens_beside_a_vocabulary_are_read(tmp_path: Path) -> None:
    clip_folder(tmp_path)
    model = pairloom.load(tmp_path)
    from pairloom.weights._transformers import tokens_of

    (tmp_path / "added_tokens.json").write_text(
        json.dumps({"<two>": model.tokens.size + 1, "<one>": model.tokens.size})
    )
    tokens = tokens_of(tmp_path)
    assert tokens.bare(["<two> <one>"])[0] == [model.tokens.size + 1, model.tokens.size]
