"""What is particular to DALL-E mini: the norms of its BART, the codes that may be drawn, guidance over the empty text, the VQGAN's losses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers")

from pairloom.blocks.code_drawing import chances, draw_codes, write_codes
from pairloom.blocks.normformer import GatedFeedForward
from pairloom.systems import dalle_mini


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return dalle_mini.System(dalle_mini.TINY).eval()


@pytest.fixture(scope="module")
def batch():
    return dalle_mini.example(dalle_mini.TINY, torch.Generator().manual_seed(0))


def test_published_sizes():
    """Parameters of the transformers as the model cards state them: 0.4 billion of mini, 2.6 of mega."""
    with torch.device("meta"):
        mini, mega = (dalle_mini.BartWriter(dalle_mini.PRESETS[name]) for name in ("mini", "mega"))
    millions = [sum(value.numel() for value in one.parameters()) // 10**6 for one in (mini, mega)]
    assert 400 <= millions[0] < 450 and 2500 <= millions[1] < 2700
    assert dalle_mini.side_of(dalle_mini.PRESETS["mega"]) == 16


@torch.no_grad()
def test_gated_feed_forward_by_hand():
    torch.manual_seed(0)
    part, x = GatedFeedForward(4, 6), torch.randn(2, 3, 4)
    hidden = F.gelu(x @ part.gate.weight.T) * (x @ part.up.weight.T)
    hidden = (hidden - hidden.mean(-1, keepdim=True)) / (
        hidden.var(-1, correction=0, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(part(x), hidden @ part.down.weight.T)


def test_every_attention_has_a_norm_behind_it(system):
    norms = [
        type(r.fn.out[1]).__name__
        for layer in system.writer.decoder.layers
        for r in (*layer.attend, *layer.cross)
    ]
    assert norms == ["LayerNorm"] * 4
    assert not [
        name for name, _ in system.writer.named_parameters() if name.endswith(("query.bias", "out.0.bias"))
    ]


def test_only_the_likeliest_codes_are_drawn():
    """With `top`, a code that is not among the likeliest never comes, and these come in their proportions."""
    logits = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1])).expand(3000, -1)
    codes, _ = write_codes(logits, None, lambda *_: (logits, None), chances(range(3000), 1), top=2)
    shares = torch.bincount(codes[:, 0], minlength=4) / 3000
    torch.testing.assert_close(shares, torch.tensor([2 / 3, 1 / 3, 0.0, 0.0]), atol=0.03, rtol=0)


@torch.no_grad()
def test_drawing_equals_a_loop_without_a_cache(system, batch):
    """With guidance over the text that is a start and an end, temperature and the likeliest codes."""
    texts = replace(batch, codes=None, images=None, image_of=None)
    (ids, mask), chance = texts.text(), chances([5, 6, 7, 8, 9, 10], system.code_length)
    empty = torch.tensor([[2, 3]]).expand(len(ids), -1)
    stated = system.writer.read(ids, mask)
    free = system.writer.read(empty, torch.ones_like(empty, dtype=torch.bool))
    codes = torch.zeros(len(ids), system.code_length, dtype=torch.long)
    for at in range(system.code_length):
        one, other = (system.writer(codes, context)[:, at] for context in (stated, free))
        logits = other + 3.0 * (one - other)
        logits[logits < logits.sort(1).values[:, -5, None]] = -torch.inf
        codes[:, at] = draw_codes(logits / 0.7, chance[:, at])
    drawn = system.draw(texts, seeds=[5, 6, 7, 8, 9, 10], guidance=3.0, top=5, temperature=0.7)
    torch.testing.assert_close(drawn, system.decode_codes(codes), atol=1e-4, rtol=0)


@torch.no_grad()
def test_codes_of_pictures_are_the_nearest(system, batch):
    images = batch.images[:, 0].clamp(0, 1)
    codes = system.vqgan.encode(images)
    latents = system.vqgan.model.encode(images).latents[2, :, 3, 1]
    apart = (system.vqgan.model.quantize.embedding.weight - latents).square().sum(1)
    assert int(codes[2, 3 * 4 + 1]) == int(apart.argmin())


def test_the_vqgan_alone_learns_in_its_turn(system, batch):
    """The pixels reach the encoder through the codes, straight-through; the writer is not touched."""
    losses = system.losses(replace(batch, codes=None), "vqgan")
    assert set(losses) == {"pixels", "codes"}
    losses["pixels"].backward()
    assert system.vqgan.model.encoder.conv_in.weight.grad.abs().max() > 0
    assert all(value.grad is None for value in system.writer.parameters())
    system.zero_grad()
