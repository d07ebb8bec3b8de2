"""Starting from BERT and ViT: the towers then say what transformers' classes say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers")

from transformers import BertConfig, BertForMaskedLM, BertModel, ViTConfig, ViTModel  # noqa: E402

from pairloom.blocks.text import READ, WRITE  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import build  # noqa: E402
from pairloom.systems.blip import TINY, System  # noqa: E402
from pairloom.weights.bert import start_from_bert  # noqa: E402
from pairloom.weights.exchange import with_part  # noqa: E402
from pairloom.weights.salesforce import to_salesforce  # noqa: E402
from pairloom.weights.vit import start_from_vit  # noqa: E402

CONFIG = replace(TINY, queue=0, momentum=0.0, image_width=48, image_heads=3)
BERT = BertConfig(
    vocab_size=62,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=128,
    max_position_embeddings=16,
)
VIT = ViTConfig(
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=192,
    image_size=32,
    patch_size=8,
    layer_norm_eps=1e-6,
)


@pytest.fixture
def system() -> System:
    torch.manual_seed(1)
    return System(CONFIG).eval()


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    keep = torch.arange(7) < torch.tensor([7, 4])[:, None]
    return torch.randint(5, 62, (2, 7), generator=torch.Generator().manual_seed(2)).masked_fill(
        ~keep, 0
    ), keep


@torch.no_grad()
def test_text_mode_is_bert(tmp_path: Path, system: System):
    """With the type row that BLIP drops set to zero, both ways through the tower start as BERT; the writer has its head."""
    torch.manual_seed(0)
    bert = BertForMaskedLM(BERT).eval()
    bert.bert.embeddings.token_type_embeddings.weight.zero_()
    bert.cls.predictions.bias.normal_()
    bert.save_pretrained(tmp_path)
    fresh = system.towers.text.embed[0].words.weight[62:].clone()
    moved = start_from_bert(system, tmp_path)
    ids, keep = tokens()
    expected = bert.bert(ids, attention_mask=keep.long()).last_hidden_state
    torch.testing.assert_close(
        system.towers.text(ids, keep, mode=READ)[keep], expected[keep], atol=1e-5, rtol=1e-5
    )
    causal = BertModel(BertConfig(**{**BERT.to_dict(), "is_decoder": True}), add_pooling_layer=False).eval()
    causal.load_state_dict(bert.bert.state_dict())
    written = causal(ids, attention_mask=keep.long()).last_hidden_state
    torch.testing.assert_close(
        system.towers.text(ids, keep, mode=WRITE)[keep], written[keep], atol=1e-5, rtol=1e-5
    )
    scores = system.head(expected, system.towers.text.words)[..., :62]
    torch.testing.assert_close(scores, bert.cls(expected), atol=1e-5, rtol=1e-5)
    for layer in system.towers.text.stack.layers:
        for one, other in zip(layer.attend[READ].parameters(), layer.attend[WRITE].parameters()):
            assert torch.equal(one, other)
    assert torch.equal(system.towers.text.embed[0].words.weight[62:], fresh)
    assert not moved.left and all(".cross." in name for name in moved.missing)


@torch.no_grad()
def test_a_bare_bert_leaves_the_head_fresh(tmp_path: Path, system: System):
    BertModel(BERT).save_pretrained(tmp_path)
    moved = start_from_bert(system, tmp_path / "model.safetensors")
    assert {name for name in moved.missing if ".cross." not in name} == {
        f"head.{name}" for name in ("bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias")
    }


@torch.no_grad()
@pytest.mark.parametrize("layout", ["transformers", "timm"])
def test_the_image_tower_is_vit(tmp_path: Path, system: System, layout: str):
    torch.manual_seed(0)
    vit = ViTModel(VIT, add_pooling_layer=False).eval()
    for parameter in vit.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    if layout == "transformers":
        vit.save_pretrained(tmp_path)
    images = torch.randn(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    expected = vit(images[:, 0]).last_hidden_state
    if (
        layout == "timm"
    ):  # by way of a tower that has these weights, under Salesforce's names, which are timm's
        other, first = System(CONFIG), tmp_path / "first"
        vit.save_pretrained(first)
        start_from_vit(other, first)
        named = {
            name.removeprefix("visual_encoder."): tensor
            for name, tensor in to_salesforce(other).items()
            if "visual" in name
        }
        save_file({**named, "head.weight": torch.zeros(10, 48)}, tmp_path / "model.safetensors")
    moved = start_from_vit(system, tmp_path)
    torch.testing.assert_close(system.towers.look(images)[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert not moved.missing and not moved.left


def test_a_new_blip_begins_as_bert_and_vit(tmp_path: Path):
    """By --init text=BERT,image=VIT; the model card says so, and another system says that it cannot."""
    tokens = Tokens.train(["a red square and a blue circle"] * 3, 64)
    sizes = ["image_width=48", "image_heads=3", "queue=0"]
    model = build("blip", tokens, "tiny", sizes)
    BertModel(BertConfig(**{**BERT.to_dict(), "vocab_size": tokens.size})).save_pretrained(tmp_path / "bert")
    ViTModel(VIT, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    begun = with_part(with_part(model, "text", tmp_path / "bert"), "image", tmp_path / "vit")
    words = load_file(tmp_path / "bert" / "model.safetensors")["embeddings.word_embeddings.weight"]
    patch = load_file(tmp_path / "vit" / "model.safetensors")["embeddings.patch_embeddings.projection.weight"]
    assert torch.equal(begun.system.towers.text.words, words)
    assert torch.equal(begun.system.towers.image.embed.patch.weight, patch)
    assert begun.about["image"] == "vit" and begun.about["text"].startswith("bert, ")
    for part in ("text", "image"):
        with pytest.raises(Mistake, match="A clip has no"):
            with_part(build("clip", tokens, "tiny"), part, tmp_path / "bert")


def test_the_wrong_file_is_named(tmp_path: Path, system: System):
    with pytest.raises(Mistake, match="has no weights"):
        start_from_bert(system, tmp_path)
    with pytest.raises(Mistake, match="There is nothing at"):
        start_from_bert(system, tmp_path / "nowhere")
    BertModel(BERT).save_pretrained(tmp_path)
    with pytest.raises(Mistake, match="does not fit this system"):
        start_from_vit(system, tmp_path)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    wide = BertConfig(**{**BERT.to_dict(), "hidden_size": 64})
    BertModel(wide).save_pretrained(tmp_path)
    with pytest.raises(Mistake, match=r"\[62, 64\]"):
        start_from_bert(system, tmp_path)
    with pytest.raises(Mistake, match="stem=patch"):
        to_salesforce(System(replace(CONFIG, stem="conv")))
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(Mistake, match="cannot be read"):
        start_from_vit(system, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())


def test_nothing_is_unpickled(tmp_path: Path, system: System):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    torch.save({"model": {"cls_token": torch.zeros(1, 1, 48)}, "trap": Trap()}, tmp_path / "model.pth")
    with pytest.raises(Mistake, match="holds more than tensors|cannot be read"):
        start_from_vit(system, tmp_path / "model.pth")
    assert not (tmp_path / "sprung").exists()
    torch.save({"model": {"cls_token": torch.zeros(1, 1, 48)}}, tmp_path / "model.pth")
    with pytest.raises(Mistake, match="has nothing for"):
        start_from_vit(system, tmp_path / "model.pth")
