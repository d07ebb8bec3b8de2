"""Flamingo's parts beside transformers' Idefics (activation by name) and OpenFlamingo's source; its language models beside
transformers' own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from published import scatter  # noqa: E402

from pairloom.blocks.gated import GatedCrossBlock, GatedMask  # noqa: E402
from pairloom.blocks.library_language import LibraryModel  # noqa: E402
from pairloom.blocks.resampler import Resampler, Resampling  # noqa: E402
from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.systems.flamingo import TINY, System  # noqa: E402
from pairloom.tasks.decode import Writing, decode  # noqa: E402

NEAR = dict(atol=1e-5, rtol=1e-5)
SMALL = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=62)
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": dict(n_embd=32, n_layer=3, n_head=2, vocab_size=62, n_positions=64),
    "llama": dict(SMALL, num_key_value_heads=1),
    "gpt_neox": SMALL,
    "opt": dict(SMALL, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64),
    "mpt": dict(d_model=32, n_layers=3, n_heads=2, vocab_size=62, max_seq_len=64),
}


def idefics(**changes: Any) -> Any:
    told = dict(
        hidden_size=32, num_attention_heads=2, intermediate_size=128, alpha_initializer="ones", alpha_type="float",
        qk_layer_norms=False, vision_config={"embed_dim": 24}, dropout=0.0,
    )  # fmt: skip
    config = transformers.IdeficsConfig(**told | changes)
    config._attn_implementation = "eager"
    return config


@torch.no_grad()
def test_the_resampler_beside_idefics() -> None:
    """Theirs thinks by ReLU where the paper squares it; everything else is the same."""
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    theirs = IdeficsPerceiverResampler(idefics(), 24, 2, 2, 16, 5).eval()
    scatter(theirs, 1)
    ours = Resampler(Resampling(24, 2, 2, 32, 5, 0, "relu"))
    ours.queries.copy_(theirs.latents)
    ours.norm.load_state_dict(theirs.layer_norm.state_dict())
    for mine, (attend, feed) in zip(ours.layers, theirs.blocks):
        for name in ("query", "key", "value"):
            getattr(mine.attend, name).weight.copy_(getattr(attend, f"{name[0]}_proj").weight)
        mine.attend.out.weight.copy_(attend.output_proj.weight)
        mine.norm_rows.load_state_dict(attend.context_layer_norm.state_dict())
        mine.norm.load_state_dict(attend.latents_layer_norm.state_dict())
        mine.norm_feed.load_state_dict(feed.ln.state_dict())
        mine.feed.up.weight.copy_(feed.fc.weight)
        mine.feed.down.weight.copy_(feed.c_proj.weight)
    rows = torch.randn(3, 7, 24)
    torch.testing.assert_close(ours(rows[:, None]), theirs(rows), **NEAR)
    for layer in ours.layers:
        layer.feed.activation = "squared_relu"
    assert (ours(rows[:, None]) - theirs(rows)).abs().max() > 1e-3


@torch.no_grad()
def test_the_gated_layer_beside_idefics() -> None:
    """Their norms (RMS) and feed-forward part (gated) belong to LLaMA: with the paper's in their place, it is the same."""
    from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

    theirs = IdeficsGatedCrossAttentionLayer(idefics(), 0).eval()
    theirs.cross_attn.k_proj, theirs.cross_attn.v_proj = (nn.Linear(24, 32, bias=False) for _ in range(2))
    theirs.input_layernorm, theirs.post_attention_layernorm = nn.LayerNorm(32), nn.LayerNorm(32)
    up, down = nn.Linear(32, 128, bias=False), nn.Linear(128, 32, bias=False)
    theirs.mlp = nn.Sequential(up, nn.ReLU(), down)
    scatter(theirs, 2)
    theirs.alpha_cross_attn.fill_(0.7)
    theirs.alpha_dense.fill_(-0.4)
    ours = GatedCrossBlock(32, 24, 2, 32, "relu", 1e-5)
    for name in ("query", "key", "value"):
        getattr(ours.attend, name).weight.copy_(getattr(theirs.cross_attn, f"{name[0]}_proj").weight)
    ours.attend.out.weight.copy_(theirs.cross_attn.o_proj.weight)
    ours.norm.load_state_dict(theirs.input_layernorm.state_dict())
    ours.norm_feed.load_state_dict(theirs.post_attention_layernorm.state_dict())
    ours.feed.up.weight.copy_(up.weight)
    ours.feed.down.weight.copy_(down.weight)
    ours.attend_gate.copy_(theirs.alpha_cross_attn)
    ours.feed_gate.copy_(theirs.alpha_dense)
    x, rows = torch.randn(2, 6, 32), torch.randn(2, 8, 24)
    image = torch.tensor(
        [[0, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 2]]
    )  # how many pictures each token has come past
    mask = image[:, :, None] - 1 == torch.arange(2).repeat_interleave(4)
    closed = torch.zeros(2, 1, 6, 8).masked_fill(~mask[:, None], torch.finfo(torch.float).min)
    said = theirs(
        x,
        image_hidden_states=rows,
        image_attention_mask=closed,
        cross_attention_gate=(image > 0).float(),
    )
    torch.testing.assert_close(ours(x, ours.attend.project(rows), GatedMask.of(mask)), said, **NEAR)


@torch.no_grad()
def test_both_beside_open_flamingo() -> None:
    helpers = pytest.importorskip("open_flamingo.src.helpers", reason="open_flamingo is not installed here")
    from pairloom.weights.open_flamingo import gated_places, resampler_places

    theirs = nn.Module()
    theirs.perceiver = helpers.PerceiverResampler(dim=24, depth=2, dim_head=16, heads=2, num_latents=5)
    theirs.gated = helpers.GatedCrossAttentionBlock(dim=32, dim_visual=24, dim_head=8, heads=4)
    scatter(theirs, 3)
    state = theirs.state_dict()
    ours = Resampler(Resampling(24, 2, 2, 32, 5, 0, "gelu"))
    for name, place in resampler_places(ours, "perceiver.").items():
        ours.state_dict()[name].copy_(place.ours(state[place.names[0]]))
    rows = torch.randn(2, 3, 1, 7, 24)
    media = theirs.perceiver(rows)
    torch.testing.assert_close(ours(rows.flatten(0, 1)), media.flatten(0, 1), **NEAR)
    reader = GatedCrossBlock(32, 24, 4, 32, "gelu", 1e-5)
    for name, place in gated_places(reader, "gated.").items():
        reader.state_dict()[name].copy_(place.ours(state[place.names[0]]))
    x, marks = torch.randn(2, 9, 32), torch.zeros(2, 9, dtype=torch.bool)
    marks[0, [2, 5]], marks[1, [0, 3, 7]] = True, True
    mask = marks.cumsum(1)[:, :, None] - 1 == torch.arange(3).repeat_interleave(5)
    said = theirs.gated(x, media, media_locations=marks, use_cached_media=False)
    torch.testing.assert_close(
        reader(x, reader.attend.project(media.flatten(1, 2)), GatedMask.of(mask)), said, **NEAR
    )


def library(kind: str) -> LibraryModel:
    torch.manual_seed(0)
    made = LibraryModel(json.dumps({"model_type": kind, **MODELS[kind]})).eval()
    scatter(made, 4)
    return made


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
def test_a_library_model_says_what_it_says_alone(kind: str) -> None:
    """Whole, in two spans, token by token; and `between` is asked once before each layer."""
    ours, tokens = library(kind), torch.randint(0, 62, (3, 9), generator=torch.Generator().manual_seed(0))
    expected = ours.model(input_ids=tokens).logits
    torch.testing.assert_close(ours.read(ours.embed(tokens))[0], expected, **NEAR)
    said, _, past = ours.read(ours.embed(tokens[:, :5]))
    parts = [said]
    for at in (slice(5, 6), slice(6, 9)):
        said, _, past = ours.read(ours.embed(tokens[:, at]), past)
        parts.append(said)
    torch.testing.assert_close(torch.cat(parts, 1), expected, **NEAR)
    asked: list[int] = []

    def between(index: int, x: torch.Tensor) -> torch.Tensor:
        asked.append(index)
        return x.roll(1, -1) if index == 1 else x

    assert (ours.read(ours.embed(tokens), None, between)[0] - expected).abs().max() > 1e-3
    assert asked == [0, 1, 2] and ours.depth == 3
    torch.testing.assert_close(ours.read(ours.embed(tokens))[0], expected, **NEAR)  # nothing is left behind


@torch.no_grad()
@pytest.mark.parametrize("kind", ["", *MODELS])
def test_the_language_model_is_untouched_at_the_start(kind: str) -> None:
    """Fresh gates change no bit of what the language model says, pictures or not."""
    told = json.dumps({"model_type": kind, **MODELS[kind]}) if kind else ""
    torch.manual_seed(1)
    system = System(replace(TINY, library=told)).eval()
    tokens = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    batch = Batch(images=torch.randn(2, 2, 3, 32, 32), texts=Texts.unpadded(tokens))
    words = system.language.embed(tokens)
    words[:, 0] = system.marks[0]  # the <image> before the text is the only word that it does not know
    alone = system.language.read(words)[0]
    assert torch.equal(system.logits(batch)[..., :60], alone[..., :60])
    for gated in system.gated:
        gated.attend_gate.fill_(0.5)
    assert (system.logits(batch)[..., :60] - alone[..., :60]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_writing_with_a_library_model(kind: str) -> None:
    """Greedy text through our `decode`, cached and with beams' reordering, is that of the teacher-forced logits."""
    system = System(replace(TINY, library=json.dumps({"model_type": kind, **MODELS[kind]}))).eval()
    scatter(system, 6)
    images = torch.randn(3, 1, 3, 32, 32)
    found = decode(system, Batch(images=images), Writing("greedy", max_length=9, min_length=9))
    for row, (text,) in enumerate(found):
        tokens = torch.tensor([[TINY.cls, *text.tokens]])
        said = system.logits(Batch(images=images[row : row + 1], texts=Texts.unpadded(tokens)))[0, :-1]
        said[:, TINY.sep] = -1e9
        assert said.argmax(1).tolist() == list(text.tokens)
    beams = decode(system, Batch(images=images), Writing("beam", 3, 9))
    alone = decode(system, Batch(images=images[1:2]), Writing("beam", 3, 9))
    assert beams[1][0].tokens == alone[0][0].tokens
