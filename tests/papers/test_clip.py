"""CLIP (Radford et al., 2021): the sentences of the paper and of its code that matter, one test each."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.feed import quick_gelu
from pairloom.blocks.resnet import AttentionPool, Bottleneck, ResNetTower
from pairloom.data.batch import Batch, Texts
from pairloom.systems.clip import PRESETS, RECIPES, TINY, Config, System

TINY_RESNET = replace(TINY, image_size=64, stages=(1, 2, 1, 1), image_width=16, image_heads=8)


def made(config: Config = TINY, seed: int = 0) -> System:
    torch.manual_seed(seed)
    return System(config).eval()


def pairs(rows: int = 5, size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 60, (rows, 9), generator=generator)
    keep = torch.arange(9) < torch.tensor([9, 5, 7, 4, 9])[:rows, None]
    tokens[:, 0] = TINY.cls
    tokens[torch.arange(rows), keep.sum(1) - 1] = TINY.sep
    images = torch.randn(rows, 1, 3, size, size, generator=generator)
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, TINY.pad), keep))


# millions of parameters of OpenAI's files, all told
@pytest.mark.parametrize(
    ("preset", "millions"),
    [("ViT-B-32", 151.277), ("ViT-B-16", 149.621), ("ViT-L-14", 427.617), ("RN50", 102.007), ("RN101", 119.688),
     ("RN50x4", 178.301), ("RN50x16", 290.979), ("RN50x64", 623.258)],
)  # fmt: skip
def test_sizes(preset: str, millions: float) -> None:
    with torch.device("meta"):
        system = System(PRESETS[preset])
    assert sum(value.numel() for value in system.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)


def test_the_vocabulary_and_length() -> None:
    """ "a lower-cased byte pair encoding (BPE) representation of the text with a 49,152 vocab size" (and 256 bytes more);
    "the max sequence length was capped at 76" between start and end, 77 with one of them."""
    assert Config().vocabulary == 512 + 48894 + 2 == 49408 and Config().length == 77
    assert set(RECIPES) == {name for name in PRESETS if not name.startswith("tiny")}


def test_figure_3() -> None:
    """The pseudocode: logits = I_e . T_e^T * exp(t); labels = arange(n); mean of the two cross-entropies."""
    system, batch = made(), pairs()
    with torch.no_grad():
        image, text = system.embed_image(batch), system.embed_text(batch)
        logits = image @ text.T * torch.exp(system.scale)
        labels = torch.arange(5)
        expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        assert image.norm(dim=1) == pytest.approx(torch.ones(5).numpy(), abs=1e-6)
        torch.testing.assert_close(system.losses(batch)["contrast"], expected)


@torch.no_grad()
def test_the_temperature_starts_at_007_and_its_inverse_stops_at_100() -> None:
    system = made()
    assert float(system.scale) == pytest.approx(math.log(1 / 0.07)) == pytest.approx(2.6593, abs=1e-4)
    for start, stays in ((9.0, math.log(100)), (-3.0, -3.0)):
        system.scale.fill_(start)
        system.losses(pairs())
        assert float(system.scale) == pytest.approx(stays)


def test_quick_gelu() -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 1.0])
    expected = [value / (1 + math.exp(-1.702 * value)) for value in x.tolist()]
    assert quick_gelu(x).tolist() == pytest.approx(expected, rel=1e-6)
    assert float((quick_gelu(x) - F.gelu(x)).abs().max()) > 5e-3


@torch.no_grad()
def test_the_end_speaks_for_the_text_whatever_its_id() -> None:
    """The feature is that of the end token (not of the highest id), and nothing after it is heard."""
    system, batch = made(), pairs()
    said = system.embed_text(batch)
    assert int(batch.texts.ids.max()) > TINY.sep  # argmax(id) would look elsewhere
    rows = system.text(batch.texts.ids, batch.texts.mask, mode=1)
    ends = batch.texts.mask.sum(1) - 1
    expected = F.normalize(system.text_projection(rows[torch.arange(5), ends]), dim=-1)
    torch.testing.assert_close(said, expected)
    later = batch.texts.ids.clone()
    later[1, 6:] = 33
    torch.testing.assert_close(
        system.embed_text(replace(batch, texts=Texts(later, torch.ones_like(batch.texts.mask)))), said
    )


@torch.no_grad()
def test_masked_self_attention_in_the_text_tower() -> None:
    system, batch = made(), pairs()
    changed = batch.texts.ids.clone()
    changed[0, 5] = 7
    before, after = (system.text(tokens, batch.texts.mask, mode=1) for tokens in (batch.texts.ids, changed))
    torch.testing.assert_close(before[0, :5], after[0, :5])
    assert float((before[0, 5:] - after[0, 5:]).abs().max()) > 1e-3


@torch.no_grad()
def test_attention_pooling() -> None:
    """ "a single layer of ... multi-head QKV attention where the query is conditioned on the global average-pooled
    representation of the image"."""
    torch.manual_seed(0)
    pool = AttentionPool(4, 8, 2, 6)
    torch.nn.init.normal_(pool.positions)
    x = torch.randn(3, 8, 2, 2)
    rows = x.flatten(2).transpose(1, 2)
    rows = torch.cat([rows.mean(1, keepdim=True), rows], 1) + pool.positions
    attend = pool.attend
    heads = []
    for at in range(2):
        part = slice(4 * at, 4 * at + 4)
        query, keys, values = (f(rows)[..., part] for f in (attend.query, attend.key, attend.value))
        weight = (query[:, :1] @ keys.transpose(1, 2) / 2).softmax(-1)
        heads.append(weight @ values)
    torch.testing.assert_close(pool(x), attend.out(torch.cat(heads, -1))[:, 0])


def test_a_stride_is_an_average_before_a_convolution() -> None:
    """ "antialiased rect-2 blur pooling": no convolution of a block has a stride."""
    tower = ResNetTower((1, 2, 1, 1), 16, 8, 64, 24)
    blocks = [part for part in tower.modules() if isinstance(part, Bottleneck)]
    assert [block.stride for block in blocks] == [1, 2, 1, 2, 2]
    assert all(
        part.stride == (1, 1)
        for block in blocks
        for part in block.modules()
        if isinstance(part, torch.nn.Conv2d)
    )
    with pytest.raises(ValueError, match="no multiple of 32"):
        ResNetTower((1, 2, 1, 1), 16, 8, 60, 24)


def test_a_resnet_learns_everywhere() -> None:
    """From blocks that begin as their shortcuts."""
    torch.manual_seed(0)
    system, batch = System(TINY_RESNET).train(), pairs(size=64)
    before = {name: value.clone() for name, value in system.named_parameters()}
    optimiser, told = torch.optim.Adam(system.parameters(), 3e-3), []
    for _ in range(12):
        loss = system.losses(batch)["contrast"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append(float(loss.detach()))
    assert not [name for name, value in system.named_parameters() if torch.equal(value, before[name])]
    assert told[-1] < 0.7 * told[0]


def test_the_same_picture_twice_is_no_wrong_answer() -> None:
    """Ours: where the data names its pictures, both texts of a picture are right for it."""
    system, batch = made(), pairs(4)
    told = replace(batch, images=batch.images[[0, 0, 1, 2]], image_ids=torch.tensor([7, 7, 8, 9]))
    with torch.no_grad():
        logits = system.embed_image(told) @ system.embed_text(told).T * system.scale.exp()
        targets = torch.eye(4)
        targets[:2, :2] = 0.5
        both = (
            -(targets * logits.log_softmax(1)).sum(1).mean()
            - (targets * logits.T.log_softmax(1)).sum(1).mean()
        )
        torch.testing.assert_close(system.losses(told)["contrast"], both / 2)


@torch.no_grad()
def test_initialisation_follows_width_and_depth() -> None:
    """As in the released code: width^-1/2 for attention, (2 width)^-1/2 up, and less by depth where a residual ends."""
    torch.manual_seed(0)
    system = System(replace(TINY, width=256, heads=4, depth=3, vocabulary=999))
    layer = system.text.stack.layers[1]
    attend, feed = layer.attend[0].fn, layer.feed[0].fn
    assert float(attend.query.weight.std()) == pytest.approx(256**-0.5, rel=0.02)
    assert float(attend.out.weight.std()) == pytest.approx((256 * 6) ** -0.5, rel=0.02)
    assert float(feed.up.weight.std()) == pytest.approx(512**-0.5, rel=0.02)
    assert float(feed.down.weight.std()) == pytest.approx((256 * 6) ** -0.5, rel=0.02)
    assert float(system.text.embed[0].words.weight.std()) == pytest.approx(0.02, rel=0.02)
