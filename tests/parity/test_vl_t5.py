"""VL-T5's encoder and decoder beside transformers' T5, with and without regions between the words."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import T5Config, T5ForConditionalGeneration  # noqa: E402
from transformers.modeling_outputs import BaseModelOutput  # noqa: E402

from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.systems import vl_t5  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights"))
from published import scatter  # noqa: E402

NEAR = dict(atol=1e-5, rtol=1e-5)
CONFIG = replace(vl_t5.TINY, inside=48, buckets=32, farthest=20, start=0)
LAYER = {
    "attend.0.fn.query": "SelfAttention.q", "attend.0.fn.key": "SelfAttention.k", "attend.0.fn.value": "SelfAttention.v",
    "attend.0.fn.out": "SelfAttention.o", "cross.0.fn.query": "EncDecAttention.q", "cross.0.fn.key": "EncDecAttention.k",
    "cross.0.fn.value": "EncDecAttention.v", "cross.0.fn.out": "EncDecAttention.o", "feed.0.fn.up": "DenseReluDense.wi",
    "feed.0.fn.down": "DenseReluDense.wo",
}  # fmt: skip
PARTS = {"attend": 0, "cross": 1}


def published(name: str) -> str:
    """transformers' name of one of our tensors."""
    fixed = {
        "words.weight": "shared.weight", "encoder_norm.weight": "encoder.final_layer_norm.weight",
        "norm.weight": "decoder.final_layer_norm.weight",
        "bias.table.weight": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "past_bias.table.weight": "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    }  # fmt: skip
    if name in fixed:
        return fixed[name]
    stack, _, layer, rest = name.split(".", 3)
    part = rest.split(".")[0]
    at = PARTS.get(part, 1 if stack == "encoder" else 2)
    stem = rest.removesuffix(".weight")
    inside = "layer_norm" if stem.endswith("norm") else LAYER[stem]
    return f"{stack}.block.{layer}.layer.{at}.{inside}.weight"


@pytest.fixture(scope="module")
def both() -> tuple[vl_t5.System, T5ForConditionalGeneration]:
    c = CONFIG
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=c.vocabulary, d_model=c.width, d_kv=c.inside // c.heads, d_ff=c.hidden, num_layers=c.depth,
            num_heads=c.heads, relative_attention_num_buckets=c.buckets, relative_attention_max_distance=c.farthest,
            dropout_rate=0.0, feed_forward_proj="relu", pad_token_id=0, decoder_start_token_id=0, eos_token_id=3,
            attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    scatter(theirs, 3)
    ours, state = vl_t5.System(c).eval(), theirs.state_dict()
    scatter(ours.regions, 4)
    own = {name: published(name) for name in ours.state_dict() if not name.startswith("regions.")}
    assert set(own.values()) | {
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
    } == set(state)
    missing = ours.load_state_dict({name: state[there] for name, there in own.items()}, strict=False)
    assert all(name.startswith("regions.") for name in missing.missing_keys) and not missing.unexpected_keys
    return ours, theirs


@pytest.fixture(scope="module")
def batch() -> Batch:
    return vl_t5.example(CONFIG, torch.Generator().manual_seed(5))


def sources() -> Texts:
    generator = torch.Generator().manual_seed(6)
    mask = torch.arange(40) < torch.tensor([40, 7, 31, 40, 2, 12])[:, None]
    return Texts(torch.randint(10, 60, mask.shape, generator=generator).masked_fill(~mask, 0), mask)


@torch.no_grad()
def test_text_alone_is_t5(both, batch: Batch) -> None:
    """Forty tokens: distances beyond the farthest bucket; targets of other lengths."""
    ours, theirs = both
    source, (target, mask) = sources(), batch.text()
    target = vl_t5.begin_with(0, target)
    logits = ours._write(target, mask, ours._encode(source, None))
    expected = theirs(
        input_ids=source.ids, attention_mask=source.mask.long(), decoder_input_ids=target,
        decoder_attention_mask=mask.long(),
    ).logits  # fmt: skip
    torch.testing.assert_close(logits[mask], expected[mask], **NEAR)


@torch.no_grad()
def test_regions_have_no_relative_positions(both, batch: Batch) -> None:
    """transformers' encoder blocks with the bias written out: T5's between words, zero for every pair with a region."""
    ours, theirs = both
    source, (target, mask) = sources(), batch.text()
    target, words = vl_t5.begin_with(0, target), theirs.encoder.block[0].layer[0].SelfAttention
    regions = batch.regions
    rows = torch.cat(
        [theirs.shared(source.ids), ours.regions(regions.features, regions.boxes, ours.words.weight)], 1
    )
    real = torch.cat([source.mask, regions.mask.flatten(1)], 1)
    bias = torch.zeros(1, CONFIG.heads, rows.shape[1], rows.shape[1])
    bias[..., :40, :40] = words.compute_bias(40, 40)
    bias = bias + torch.zeros(6, 1, 1, rows.shape[1]).masked_fill(
        ~real[:, None, None], torch.finfo(torch.float32).min
    )
    for block in theirs.encoder.block:
        rows = block(rows, position_bias=bias)[0]
    states = theirs.encoder.final_layer_norm(rows)
    expected = theirs(
        encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=real.long(), decoder_input_ids=target,
        decoder_attention_mask=mask.long(),
    ).logits  # fmt: skip
    logits = ours._write(target, mask, ours._encode(source, regions))
    torch.testing.assert_close(logits[mask], expected[mask], **NEAR)


def test_the_loss_is_a_mean_over_each_target_then_over_the_batch(both, batch: Batch) -> None:
    """transformers' loss of each text by itself is what the rows of ours are the mean of."""
    ours, theirs = both
    source, (target, mask) = sources(), batch.text()
    target = vl_t5.begin_with(0, target)
    with torch.no_grad():
        loss = vl_t5._mean_loss(ours._write(target, mask, ours._encode(source, None)), Texts(target, mask))
        each = []
        for row in range(6):
            own, length = source.mask[row], int(mask[row].sum())
            each.append(
                theirs(input_ids=source.ids[row : row + 1, own], labels=target[row : row + 1, 1:length]).loss
            )
    torch.testing.assert_close(loss, torch.stack(each).mean(), **NEAR)
