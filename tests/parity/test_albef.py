"""ALBEF's text and fusion halves beside transformers' BERT, and its published layout both ways.

The authors' own modules were run beside ours too, a whole step of pre-training: docs/papers/albef.md has the numbers.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import BertConfig, BertForMaskedLM, BertModel  # noqa: E402
from transformers.models.bert.modeling_bert import BertLayer  # noqa: E402

import pairloom  # noqa: E402
from pairloom.data.batch import Batch  # noqa: E402
from pairloom.data.random_batch import random_pairs  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.systems import albef  # noqa: E402
from pairloom.weights import albef as layout  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights"))
from published import bert_tokens, scatter  # noqa: E402

NEAR = dict(atol=1e-5, rtol=1e-5)
TOKENS = bert_tokens()
CONFIG = albef.Config(
    vocabulary=TOKENS.size, length=20, positions=20, width=64, depth=2, fusion_depth=3, heads=1, dropout=0.0,
    pad=TOKENS.pad, cls=TOKENS.cls, sep=TOKENS.sep, mask=TOKENS.mask, image_size=32, patch=16, image_width=128,
    image_depth=1, image_heads=2, embedding=16, queue=0, momentum=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def system() -> albef.System:
    system = albef.System(CONFIG).eval()
    scatter(system, 2)
    with torch.no_grad():
        system.temperature.fill_(0.07)
    return system


@pytest.fixture(scope="module")
def batch() -> Batch:
    return random_pairs(CONFIG, torch.Generator().manual_seed(1))


@torch.no_grad()
def test_both_halves_are_berts(system: albef.System, batch: Batch) -> None:
    """Loaded by the published names, all of which are used: six parts of BertModel, BertLayers with cross-attention, BERT's head."""
    sizes = BertConfig(
        vocab_size=TOKENS.size, hidden_size=64, num_attention_heads=1, intermediate_size=256, num_hidden_layers=2,
        max_position_embeddings=20, layer_norm_eps=1e-12, attn_implementation="eager",
    )  # fmt: skip
    published = layout.to_published(system)
    body = {
        name.removeprefix("text_encoder.bert."): one for name, one in published.items() if ".bert." in name
    }
    lower = BertModel(sizes, add_pooling_layer=False).eval()
    lower.load_state_dict(
        {
            name: one
            for name, one in body.items()
            if not name.startswith(("encoder.layer.2", "encoder.layer.3", "encoder.layer.4"))
        }
    )
    tokens, mask = system._unended(batch)
    states = system.towers.text(tokens, mask)
    expected = lower(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(states[mask], expected[mask], **NEAR)

    crossing = BertConfig(**{**sizes.to_dict(), "is_decoder": True, "add_cross_attention": True})
    crossing._attn_implementation = "eager"
    seen = torch.zeros(6, 1, 1, tokens.shape[1]).masked_fill(
        ~mask[:, None, None], torch.finfo(torch.float32).min
    )
    encoded = system.encode_image(batch).encoded
    rows = expected
    for at in range(3):
        layer = BertLayer(crossing, layer_idx=at).eval()
        layer.crossattention.self.key = torch.nn.Linear(128, 64)
        layer.crossattention.self.value = torch.nn.Linear(128, 64)
        prefix = f"encoder.layer.{2 + at}."
        layer.load_state_dict(
            {name.removeprefix(prefix): one for name, one in body.items() if name.startswith(prefix)}
        )
        rows = layer(rows, attention_mask=seen, encoder_hidden_states=encoded.rows[:, 0])
        rows = rows[0] if isinstance(rows, tuple) else rows
    fused = system.towers.fuse(states, mask, encoded, torch.arange(6))
    torch.testing.assert_close(fused[mask], rows[mask], **NEAR)

    head = BertForMaskedLM(sizes).eval().cls
    head.load_state_dict(
        {name.removeprefix("text_encoder.cls."): one for name, one in published.items() if ".cls." in name}
    )
    scores = system.towers.language_head(fused, system.towers.text.words)
    torch.testing.assert_close(scores[mask], head(rows)[mask], **NEAR)


def publish(system: albef.System, where: Path, tuned: bool = False) -> None:
    """A file as the authors write it: momentum copies and a queue beside the weights; fine-tuned ones without "bert."."""
    tensors = {name: one.clone() for name, one in layout.to_published(system).items()}
    tensors |= {
        name.replace(".", "_m.", 1): one
        for name, one in tensors.items()
        if not name.startswith(("temp", "itm"))
    }
    tensors |= {
        "image_queue": torch.zeros(16, 4), "text_queue": torch.zeros(16, 4), "queue_ptr": torch.zeros(1).long(),
        "text_encoder.bert.embeddings.position_ids": torch.arange(20)[None],
    }  # fmt: skip
    if tuned:
        tensors = {
            name.replace("text_encoder.bert.", "text_encoder."): one
            for name, one in tensors.items()
            if ".cls." not in name
        }
    torch.save(tensors if tuned else {"model": tensors, "epoch": 29}, where)
    TOKENS.save(where.parent)


@torch.no_grad()
@pytest.mark.parametrize("tuned", [False, True])
def test_a_published_file_is_loaded(system: albef.System, batch: Batch, tmp_path: Path, tuned: bool) -> None:
    publish(system, tmp_path / "ALBEF.pth", tuned)
    model = pairloom.load(tmp_path / "ALBEF.pth")
    assert model.name == "albef" and model.config == replace(CONFIG, dropout=0.1, mlm=float(not tuned))
    assert model.abilities == {"match", "embed"}
    for name in ("match", "embed_image", "embed_text"):
        torch.testing.assert_close(getattr(model.system, name)(batch), getattr(system, name)(batch), **NEAR)
    before = torch.load(tmp_path / "ALBEF.pth", weights_only=True)
    after = layout.to_published(model.system)
    if not tuned:
        assert all(torch.equal(after[name], before["model"][name]) for name in after)


def test_other_files_are_refused(system: albef.System, tmp_path: Path) -> None:
    """A file of questions has no head for pairs; one that lost a tensor says which."""
    publish(system, tmp_path / "ALBEF.pth")
    whole = torch.load(tmp_path / "ALBEF.pth", weights_only=True)["model"]
    torch.save({name: one for name, one in whole.items() if "itm_head" not in name}, tmp_path / "vqa.pth")
    with pytest.raises(Mistake, match="ALBEF of another task"):
        pairloom.load(tmp_path / "vqa.pth")
    torch.save(
        {name: one for name, one in whole.items() if "layer.3.output.dense.bias" not in name},
        tmp_path / "cut.pth",
    )
    with pytest.raises(Mistake, match="do not fit their layout") as caught:
        pairloom.load(tmp_path / "cut.pth")
    assert "towers.fusion.layers.1.feed.0.fn.down.bias" in str(caught.value)
