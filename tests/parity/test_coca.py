"""CoCa beside open_clip's (its variant, through its layout) and beside the equations written out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

pytest.importorskip("transformers")

from published import clip_tokens, scatter  # noqa: E402

import pairloom  # noqa: E402
from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.data.transform import Transform  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.systems.coca import TINY, System  # noqa: E402
from pairloom.weights import open_clip_coca  # noqa: E402

TEXTS = ["a red square", "two cats", "a photo of a blue dog and a cat left of a red square and a dog", ""]
NEAR = dict(atol=1e-5, rtol=1e-5)
LENGTH = 20


def folder(where: Path, image_width: int = 48) -> tuple[Any, dict[str, Any]]:
    """open_clip's CoCa with random weights, and its folder."""
    coca = pytest.importorskip("open_clip.coca_model", reason="open_clip is not installed here")
    tokens = clip_tokens()
    image = {
        "image_size": 32, "width": image_width, "layers": 2, "patch_size": 8, "head_width": 16, "attentional_pool": True,
        "attn_pooler_heads": 4, "attn_pooler_queries": 5, "output_tokens": True,
    }  # fmt: skip
    text = {
        "context_length": LENGTH, "vocab_size": tokens.size, "width": 32, "heads": 2, "layers": 2, "embed_cls": True,
        "output_tokens": True,
    }  # fmt: skip
    upper = {"context_length": LENGTH, "vocab_size": tokens.size, "width": 32, "heads": 2, "layers": 3}
    config = {
        "embed_dim": 32,
        "vision_cfg": image,
        "text_cfg": text,
        "multimodal_cfg": upper,
        "custom_text": True,
    }
    made = coca.CoCa(32, upper, text, image).eval()
    scatter(made, 3)
    state = {name: tensor.contiguous() for name, tensor in made.state_dict().items()}
    save_file(state, where / "open_clip_model.safetensors")
    (where / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    tokens.save(where)
    return made, config


@torch.no_grad()
@pytest.mark.parametrize("image_width", [48, 32])
def test_open_clip(tmp_path: Path, image_width: int) -> None:
    """Embeddings, logits, and the loss whose labels are the text without its first token."""
    theirs, _ = folder(tmp_path, image_width)
    ours = pairloom.load(tmp_path)
    assert ours.name == "coca" and ours.config.poolers == "open_clip"
    images = torch.randn(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    batch = replace(ours.batch(texts=TEXTS), images=images)
    assert batch.texts.mask.sum(1).tolist()[2] == LENGTH, "one text fills the whole length"
    ids = F.pad(batch.texts.ids.masked_fill(~batch.texts.mask, 0), (0, LENGTH - batch.texts.ids.shape[1]))
    said = theirs(images[:, 0], ids)
    torch.testing.assert_close(ours.system.embed_image(batch), said["image_features"], **NEAR)
    torch.testing.assert_close(ours.system.embed_text(batch), said["text_features"], **NEAR)
    mine, there = ours.system.logits(batch), said["logits"][:, : batch.texts.ids.shape[1]]
    torch.testing.assert_close(mine[batch.texts.mask], there[batch.texts.mask], **NEAR)
    losses = ours.system.losses(batch)
    cosines = said["image_features"] @ said["text_features"].T * said["logit_scale"].clamp(max=100)
    expected = (F.cross_entropy(cosines, torch.arange(4)) + F.cross_entropy(cosines.T, torch.arange(4))) / 2
    torch.testing.assert_close(losses["itc"], expected, **NEAR)
    label = ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)
    expected = 2.0 * F.cross_entropy(said["logits"][:, :-1].transpose(1, 2), label)
    torch.testing.assert_close(losses["lm"], expected, **NEAR)


def test_a_variant_that_is_not_built_is_a_mistake(tmp_path: Path) -> None:
    _, config = folder(tmp_path)
    config["vision_cfg"]["attentional_pool"] = "cascade"
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(Mistake, match="attentional_pool=cascade"):
        pairloom.load(tmp_path)


@pytest.mark.parametrize("image_width", [48, 32])
def test_its_folder_both_ways(tmp_path: Path, image_width: int) -> None:
    """Every tensor and number comes back as it was, and a second export is the same file."""
    tokens = clip_tokens()
    config = replace(
        TINY, poolers="open_clip", image_width=image_width, vocabulary=tokens.size, length=LENGTH, embedding=32, pad=0,
        cls=tokens.size - 2, sep=tokens.size - 1, multimodal=2,
    )  # fmt: skip
    system = System(config).eval()
    scatter(system, 7)
    model = pairloom.model.Model("coca", system, tokens, Transform(32))
    open_clip_coca.export(model, tmp_path / "out")
    back = pairloom.load(tmp_path / "out")
    assert back.config == config and back.pixels == model.pixels
    state = back.system.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in system.state_dict().items())
    open_clip_coca.export(back, tmp_path / "again")
    first, second = (tmp_path / name / "open_clip_model.safetensors" for name in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(Mistake, match="not empty"):
        open_clip_coca.export(back, tmp_path / "out")
    model.system = System(replace(config, poolers="cascade"))
    with pytest.raises(Mistake, match="its own kind of CoCa"):
        open_clip_coca.export(model, tmp_path / "other")


def attend(part: Any, x: torch.Tensor, context: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Attention head by head, written out."""
    heads, width = part.heads, part.query.weight.shape[0] // part.heads
    found = []
    for head in range(heads):
        rows = slice(head * width, (head + 1) * width)
        q, k, v = (f(y)[..., rows] for f, y in ((part.query, x), (part.key, context), (part.value, context)))
        scores = (q @ k.transpose(1, 2) / width**0.5).masked_fill(~allowed, float("-inf"))
        found.append(scores.softmax(-1) @ v)
    return part.out(torch.cat(found, -1))


@torch.no_grad()
@pytest.mark.parametrize("poolers", ["cascade", "parallel"])
def test_the_equations_by_hand(poolers: Any) -> None:
    """The paper's own wiring, from the image's rows to both losses' inputs, for a text of 6 tokens without padding."""
    torch.manual_seed(0)
    system = System(replace(TINY, poolers=poolers)).eval()
    scatter(system, 5)
    tokens = torch.tensor([[2, 9, 33, 7, 12, 3], [2, 8, 8, 30, 6, 3]])
    batch = Batch(images=torch.randn(2, 1, 3, 32, 32), texts=Texts(tokens, torch.ones_like(tokens).bool()))
    everything = torch.ones((), dtype=torch.bool)
    rows = system.image(batch.images[:, 0])
    assert rows.shape == (2, 16, 32), "16 patches and no class row"

    def pool(part: Any, context: torch.Tensor) -> torch.Tensor:
        asked = part.norm_query(part.queries)[None].repeat(2, 1, 1)
        return part.norm(attend(part.attend, asked, part.norm_rows(context), everything))

    captioning = pool(system.pool, rows)
    one = pool(system.contrast_pool, captioning if poolers == "cascade" else rows)[:, 0]
    expected = F.normalize(one @ system.image_projection.weight.T, dim=-1)
    torch.testing.assert_close(system.embed_image(batch), expected, **NEAR)

    x = system.embed.words.weight[tokens] + system.embed.positions.weight[:6]
    cls = system.cls_row[0] + system.embed.positions.weight[TINY.length]
    x = torch.cat([x, cls.expand(2, 1, -1)], 1)
    for stack, picture in ((system.unimodal, None), (system.multimodal, captioning)):
        past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        for layer in stack.layers:
            own, feed = layer.attend[0], layer.feed[0]
            x = x + attend(own.fn, own.norm(x), own.norm(x), past)
            if picture is not None:
                x = x + attend(layer.cross[0].fn, layer.cross[0].norm(x), picture, everything)
            x = x + feed.fn.down(F.gelu(feed.fn.up(feed.norm(x))))
        if picture is None:
            embedded = F.normalize(system.norm_cls(x[:, -1]) @ system.text_projection.weight.T, dim=-1)
            x = x[:, :-1]
    torch.testing.assert_close(system.embed_text(batch), embedded, **NEAR)
    torch.testing.assert_close(system.logits(batch), system.norm(x) @ system.head.weight.T, **NEAR)
