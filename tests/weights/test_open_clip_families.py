"""open_clip's models after CLIP: folders as it writes them, and, where open_clip is installed, its own numbers.

`python -m experiments.open_clip_configs` goes through all its configs at full size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

import pairloom
from experiments.open_clip_configs import FAMILIES, difference, lively, shipped, smaller
from pairloom.checkpoints.layout import give
from pairloom.checkpoints.settings import JsonSettings
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.systems.clip import System
from pairloom.weights import _open_clip_encoders as encoders
from pairloom.weights import open_clip
from pairloom.weights.exchange import export
from tests.weights.published import TEXTS, bert_tokens, clip_tokens

WORDS = sorted({word for text in TEXTS for word in text.split()})
SMALL = {"context_length": 10, "width": 32, "heads": 2, "layers": 2}
SIGLIP_TEXT = {
    **SMALL, "hf_tokenizer_name": "nobody/siglip", "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
}  # fmt: skip
SIGLIP_IMAGE = {
    "image_size": 35,
    "timm_model_name": "vit_base_patch16_siglip_224",
    "timm_pool": "map",
    "timm_proj": "none",
}
VIT = {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
CLIPA_IMAGE = {**VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
CLIPA_TEXT = {
    **SMALL, "hf_tokenizer_name": "bert-base-uncased", "tokenizer_kwargs": {"strip_sep_token": True}, "pool_type": "last",
    "no_causal_mask": True,
}  # fmt: skip


def sentence_tokens() -> Tokens:
    """Words, framed as T5 frames them: nothing before a text and </s> after it."""
    names = ["<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: row for row, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(names[:3])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], special_tokens=[("</s>", 1)]
    )
    return Tokens(tokenizer)


def write(where: Path, sizes: Mapping[str, Any], tokens: Tokens, more: Mapping[str, Any] = {}) -> System:
    """A folder as open_clip writes it, with lively random weights, and the system that they belong to."""
    torch.manual_seed(0)
    system = System(open_clip.config_of(JsonSettings(where, sizes), where)).eval()
    lively(system)
    tensors = give(system.state_dict(), encoders.places(system))
    where.mkdir(exist_ok=True)
    tokens.save(where)
    save_file(
        {name: value.contiguous() for name, value in tensors.items()}, where / "open_clip_model.safetensors"
    )
    document = {"model_cfg": sizes, "preprocess_cfg": more}
    (where / open_clip.FILE).write_text(json.dumps(document))
    return system


@pytest.fixture
def small_siglip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.SIZES, "base", (32, 2, 2, 64))


def siglip_sizes(vocabulary: int) -> dict[str, Any]:
    return {
        "embed_dim": 32, "init_logit_bias": -10, "custom_text": True, "vision_cfg": SIGLIP_IMAGE,
        "text_cfg": {**SIGLIP_TEXT, "vocab_size": vocabulary},
    }  # fmt: skip


@torch.no_grad()
def test_siglip(tmp_path: Path, small_siglip: None) -> None:
    """Pictures of 35 px in patches of 16: the last 3 columns and rows are not read. Texts are cleaned, filled up with the
    padding of their tokenizer's config, and read at the last position."""
    tokens = sentence_tokens()
    system = write(
        tmp_path / "siglip",
        siglip_sizes(tokens.size + 3),
        tokens,
        {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash", "interpolation": "bilinear"},
    )
    (tmp_path / "siglip" / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))
    model = pairloom.load(tmp_path / "siglip")
    config = model.config
    assert (config.loss, config.pad, config.sep, config.vocabulary) == ("sigmoid", 1, 1, tokens.size)
    assert config.vision.activation == "gelu" and config.activation == "gelu_tanh" and config.eps == 1e-6
    assert model.pixels.mean == (0.5,) * 3 and (model.pixels.fit, model.pixels.resample) == (
        "square",
        "bilinear",
    )
    batch = model.batch(texts=["A Red, square!", "a_photo of &quot;two&quot; cats"])
    assert batch.texts.ids[0].tolist()[:4] == [
        tokens.tokenizer.token_to_id(word) for word in ("a", "red", "square", "</s>")
    ]
    assert batch.texts.ids[1].tolist()[:3] == [
        tokens.tokenizer.token_to_id(word) for word in ("a", "photo", "of")
    ]
    filled = torch.ones(2, 10, dtype=torch.long)
    filled[:, : batch.texts.ids.shape[1]] = batch.texts.ids.masked_fill(~batch.texts.mask, 1)
    x = system.text.embed[0](filled)
    rows = system.text.norm(system.text.stack(x))
    expected = nn.functional.normalize(system.text.projection(rows[:, -1]), dim=-1)
    torch.testing.assert_close(model.system.embed_text(batch), expected, atol=1e-6, rtol=1e-5)
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(1))
    changed = images.clone()
    changed[..., 32:] = 7.0
    one, other = (model.system.embed_image(model.batch(images=pixels)) for pixels in (images, changed))
    torch.testing.assert_close(one, other)
    with pytest.raises(ValueError, match="not 35 px"):
        model.system.embed_image(model.batch(images=images[..., :32, :32]))


@torch.no_grad()
def test_a_saved_siglip_is_the_same(tmp_path: Path, small_siglip: None) -> None:
    tokens = sentence_tokens()
    write(tmp_path / "siglip", siglip_sizes(tokens.size), tokens)
    model = pairloom.load(tmp_path / "siglip")
    pairloom.model.save(model, tmp_path / "ours")
    again = pairloom.load(tmp_path / "ours")
    assert again.config == model.config and again.tokens.to_json() == model.tokens.to_json()
    for name, tensor in model.system.state_dict().items():
        assert torch.equal(tensor, again.system.state_dict()[name]), name
    with pytest.raises(Mistake, match="paper's towers"):
        export(again, tmp_path / "out", "open_clip")


@torch.no_grad()
def test_clipa(tmp_path: Path) -> None:
    """The mean of the patches, normed afterwards; texts of BERT's words whose [SEP] is padding, read at the last position."""
    tokens = bert_tokens()
    sizes = {
        "embed_dim": 24,
        "vision_cfg": CLIPA_IMAGE,
        "text_cfg": {**CLIPA_TEXT, "vocab_size": tokens.size + 50},
    }
    system = write(tmp_path / "clipa", sizes, tokens)
    model = pairloom.load(tmp_path / "clipa")
    assert model.config.vocabulary == tokens.size and (model.config.pad, model.config.sep) == (0, 0)
    ids = model.batch(texts=["A red square"]).texts.ids[0].tolist()
    assert ids == [tokens.cls, *tokens.bare(["a red square"])[0], 0]
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    rows = system.image.stack(system.image.embed(images))[:, 1:].mean(1)
    expected = nn.functional.normalize(system.image.projection(system.image.pooled_norm(rows)), dim=-1)
    torch.testing.assert_close(
        model.system.embed_image(model.batch(images=images)), expected, atol=1e-6, rtol=1e-5
    )
    for to in ("open_clip", "transformers"):
        with pytest.raises(Mistake, match="paper's towers"):
            export(model, tmp_path / "out", to)


@torch.no_grad()
def test_layer_scale_is_folded(tmp_path: Path) -> None:
    """A branch times its layer scale is the branch of a linear map whose rows are scaled."""
    tokens = clip_tokens()
    sizes = {
        "embed_dim": 24,
        "vision_cfg": {**VIT, "ls_init_value": 0.1},
        "text_cfg": {**SMALL, "vocab_size": tokens.size},
    }
    system = write(tmp_path / "scaled", sizes, tokens)
    file = tmp_path / "scaled" / "open_clip_model.safetensors"
    tensors = give(system.state_dict(), encoders.places(system))
    scale = torch.linspace(0.5, 2.0, 32)
    for part, linear in (("ls_1", "attn.out_proj"), ("ls_2", "mlp.c_proj")):
        layer = "visual.transformer.resblocks.1."
        tensors[f"{layer}{part}.gamma"] = scale.clone()
        tensors[f"{layer}{linear}.weight"] = tensors[f"{layer}{linear}.weight"] / scale[:, None]
        tensors[f"{layer}{linear}.bias"] = tensors[f"{layer}{linear}.bias"] / scale
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    again = pairloom.load(tmp_path / "scaled").system
    for name, tensor in system.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name])


@torch.no_grad()
def test_the_first_of_the_pooled_queries_speaks_and_fixed_positions_are_read(tmp_path: Path) -> None:
    tokens = clip_tokens()
    image = {
        **VIT,
        "attentional_pool": True,
        "attn_pooler_queries": 3,
        "attn_pooler_heads": 2,
        "pos_embed_type": "sin_cos_2d",
    }
    sizes = {"embed_dim": 24, "vision_cfg": image, "text_cfg": {**SMALL, "vocab_size": tokens.size}}
    system = write(tmp_path / "pooled", sizes, tokens)
    model = pairloom.load(tmp_path / "pooled")
    assert not model.system.image.embed.positions.requires_grad
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    tower = system.image
    rows = tower.stack(tower.first_norm(tower.embed(images)))
    expected = nn.functional.normalize(tower.projection(tower.pool(rows)[:, 0]), dim=-1)
    torch.testing.assert_close(
        model.system.embed_image(model.batch(images=images)), expected, atol=1e-6, rtol=1e-5
    )


@torch.no_grad()
def test_a_convnext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside transformers' ConvNextModel, whose tensors are renamed to timm's, layer scale and all."""
    from transformers import ConvNextConfig, ConvNextModel

    monkeypatch.setitem(encoders.CONVNEXT, "convnext_tiny", ((1, 1, 2, 1), 8, 1e-6))
    tokens = clip_tokens()
    image = {"image_size": 64, "timm_model_name": "convnext_tiny", "timm_pool": "", "timm_proj": "mlp"}
    sizes = {"embed_dim": 24, "vision_cfg": image, "text_cfg": {**SMALL, "vocab_size": tokens.size}}
    theirs = ConvNextModel(
        ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 2, 1], layer_norm_eps=1e-6)
    ).eval()
    lively(theirs)
    system = write(tmp_path / "convnext", sizes, tokens)
    tensors = give(system.state_dict(), encoders.places(system))
    network = encoders.convnext._to_timm(theirs.state_dict(), "transformers")
    tensors |= {f"visual.trunk.{name}": value for name, value in network.items()}
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        tmp_path / "convnext" / "open_clip_model.safetensors",
    )
    model = pairloom.load(tmp_path / "convnext")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.normalize(system.image.projection(theirs(images).pooler_output), dim=-1)
    torch.testing.assert_close(
        model.system.embed_image(model.batch(images=images)), expected, atol=1e-5, rtol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["roberta", "mt5"])
def test_a_text_tower_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from pairloom.weights import _open_clip_texts

    small = {
        "roberta": dict(
            _open_clip_texts.ROBERTA, vocab_size=80, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64,
        ),
        "mt5": dict(_open_clip_texts.MT5, vocab_size=80, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
    }[kind]  # fmt: skip
    monkeypatch.setitem(_open_clip_texts.LIBRARY, "tower", small)
    tokens = sentence_tokens()
    text = {
        "hf_model_name": "somebody/tower",
        "hf_tokenizer_name": "somebody/tower",
        "hf_pooler_type": "mean_pooler",
    }
    system = write(tmp_path / "tower", {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": text}, tokens)
    model = pairloom.load(tmp_path / "tower")
    assert model.config.vocabulary == tokens.size
    batch = model.batch(texts=["a red square", "two cats and a dog"])
    rows = [
        system.text.model(input_ids=batch.texts.ids[row : row + 1, :length]).last_hidden_state.mean(1)
        for row, length in enumerate(batch.texts.mask.sum(1).tolist())
    ]
    expected = nn.functional.normalize(system.text.projection(torch.cat(rows)), dim=-1)
    torch.testing.assert_close(model.system.embed_text(batch), expected, atol=1e-5, rtol=1e-4)


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    tokens = bert_tokens()
    sizes = {
        "embed_dim": 24,
        "vision_cfg": CLIPA_IMAGE,
        "text_cfg": {**CLIPA_TEXT, "vocab_size": tokens.size},
    }
    write(tmp_path / "clipa", sizes, tokens)
    (tmp_path / "clipa" / "tokenizer.json").unlink()
    with pytest.raises(Mistake, match="tokenizer of 'bert-base-uncased'"):
        pairloom.load(tmp_path / "clipa")


@pytest.mark.parametrize("value", [None, "x", 0, [1, 2], 10**9], ids=str)
def test_whatever_stands_in_a_config_is_read_or_is_a_mistake(
    tmp_path: Path, small_siglip: None, value: Any
) -> None:
    """Every setting of a config, replaced by values of other types and sizes; nothing but a Mistake is raised."""
    tokens = sentence_tokens()
    write(
        tmp_path / "siglip", siglip_sizes(tokens.size), tokens, {"mean": [0.5] * 3, "resize_mode": "longest"}
    )
    file = tmp_path / "siglip" / open_clip.FILE
    whole = file.read_text()
    places = [(part,) for part in ("model_cfg", "preprocess_cfg")]
    places += [("model_cfg", name) for name in siglip_sizes(0)]
    places += [
        ("model_cfg", part, name) for part in ("vision_cfg", "text_cfg") for name in siglip_sizes(0)[part]
    ]
    for place in [*places, ("preprocess_cfg", "mean"), ("preprocess_cfg", "resize_mode")]:
        document = json.loads(whole)
        group = document
        for name in place[:-1]:
            group = group[name]
        group[place[-1]] = value
        file.write_text(json.dumps(document))
        with suppress(Mistake):
            pairloom.load(tmp_path / "siglip")


@pytest.mark.parametrize(("size", "expected"), [((60, 30), "wide"), ((30, 60), "high"), ((5, 7), "small")])
def test_the_longest_side_is_resized_and_the_rest_is_black(size: tuple[int, int], expected: str) -> None:
    """open_clip's "longest": 24 px of a picture of 60 x 30 are 24 x 12 in the middle."""
    transform = open_clip.pixels_of(
        JsonSettings(Path("here"), {"resize_mode": "longest", "interpolation": "bilinear"}), 24, Path("here")
    )
    image = Image.fromarray(np.full((size[1], size[0], 3), 200, dtype=np.uint8))
    pixels = transform.to_uint8(image)
    bright = pixels[..., 0] > 0
    assert pixels.shape == (24, 24, 3) and set(np.unique(pixels)) <= {0, 200}
    assert (bright.any(0).sum(), bright.any(1).sum()) == {
        "wide": (24, 12),
        "high": (12, 24),
        "small": (17, 24),
    }[expected]
    assert bright[12, 12]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_numbers_are_open_clips(name: str) -> None:
    pytest.importorskip("open_clip", reason="open_clip is not installed here")
    assert difference(smaller(shipped()[name], FAMILIES[name])) < 1e-5
