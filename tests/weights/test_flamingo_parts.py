"""A Flamingo put together from a CLIP, a language model of transformers and OpenFlamingo's checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

from published import clip_folder, scatter  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

import pairloom  # noqa: E402
from pairloom.blocks.tensors import tensors_of  # noqa: E402
from pairloom.config_json import to_dict  # noqa: E402
from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.data.tokens import Tokens  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, build, save  # noqa: E402
from pairloom.systems import clip  # noqa: E402
from pairloom.weights.exchange import with_part  # noqa: E402
from pairloom.weights.open_flamingo import gated_places, resampler_places  # noqa: E402

TEXTS = ["a red square and a blue dog", "two cats on a mat", "Output: the dog"] * 4
TWO_LAYERS = ["every=2", "first=1", "resampler_width=48"]


def language_folder(where: Path, kind: str = "gpt_neox", **changes: Any) -> Any:
    """A language model with its tokenizer, as save_pretrained leaves them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, learner)
    where.mkdir(exist_ok=True)
    tokenizer.save(str(where / "tokenizer.json"))
    (where / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    sizes = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64)
    told = {**sizes, "vocab_size": tokenizer.get_vocab_size(), **changes}
    config = transformers.AutoConfig.for_model(kind, **told)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    scatter(model, 8)
    model.save_pretrained(where)
    return model


def fresh(*settings: str) -> Model:
    return build("flamingo", Tokens.train(TEXTS, 80), "tiny", settings)


@torch.no_grad()
@pytest.mark.parametrize("tie", [False, True])
def test_parts_from_folders(tmp_path: Path, tie: bool) -> None:
    """The tower sees as it did and the language model says bit for bit what it said; saved, the whole says the same."""
    published = clip_folder(tmp_path / "clip")
    theirs = language_folder(tmp_path / "words", tie_word_embeddings=tie)
    model = with_part(fresh(*TWO_LAYERS), "vision", tmp_path / "clip")
    model = with_part(model, "language", tmp_path / "words")
    assert (len(model.system.gated), model.config.image_size) == (2, 32)
    tokens = torch.tensor([model.tokens.rows([TEXTS[0]], 20)[0]])
    assert tokens[0, 0] == tokens[0, -1] == model.tokens.sep == 0
    images = torch.randn(1, 1, 3, 32, 32)
    expected = published.vision_model(pixel_values=images[:, 0]).last_hidden_state
    rows = model.system.vision.image(images[:, 0])
    torch.testing.assert_close(rows, model.system.vision.image.norm(expected), atol=1e-5, rtol=1e-5)
    said = model.system.logits(Batch(texts=Texts.unpadded(tokens)))
    assert torch.equal(said[..., : theirs.config.vocab_size], theirs(input_ids=tokens).logits)
    save(model, tmp_path / "saved")
    again = pairloom.load(tmp_path / "saved")
    batch = Batch(images=images, texts=Texts.unpadded(tokens))
    assert torch.equal(again.system.logits(batch), model.system.logits(batch))
    assert again.tokens.id("image") == model.config.image_mark == again.tokens.size - 2


@torch.no_grad()
def test_a_folder_that_holds_a_whole_clip_loads(tmp_path: Path) -> None:
    """Version 0.1.0 saved the text side of CLIP with the vision tower, as settings and as tensors."""
    model = fresh()
    saved = save(model, tmp_path / "old")
    whole = clip.System(clip.TINY)
    document = json.loads((saved / "config.json").read_text())
    later = ("loss", "bias", "vision", "text")  # which version 0.1.0 did not have
    document["config"]["vision"] = {
        name: value for name, value in to_dict(clip.TINY).items() if name not in later
    } | {"scale": 1 / 0.07}
    (saved / "config.json").write_text(json.dumps(document))
    of_clip = {f"vision.{name}": value for name, value in tensors_of(whole).items()}
    save_file(of_clip | tensors_of(model.system), saved / "model.safetensors")
    loaded = pairloom.load(saved)
    batch = Batch(images=torch.randn(2, 1, 3, 32, 32), texts=Texts.unpadded(torch.randint(5, 40, (2, 6))))
    assert loaded.config == model.config and len(of_clip) > len(tensors_of(model.system.vision))
    assert torch.equal(loaded.system.logits(batch), model.system.eval().logits(batch))
    document["config"]["vision"]["text_depth"] = 2
    (saved / "config.json").write_text(json.dumps(document))
    with pytest.raises(Mistake, match="no setting 'text_depth'"):
        pairloom.load(saved)


def bridge(where: Path) -> tuple[Model, Model, dict[str, torch.Tensor]]:
    """A Flamingo with a language model of transformers, written to a folder; another with random weights, and what OpenFlamingo's
    checkpoint of that one holds."""
    language_folder(where)
    model = with_part(fresh(*TWO_LAYERS, "frames=0"), "language", where)
    donor = with_part(fresh(*TWO_LAYERS, "frames=0"), "language", where)
    scatter(donor.system, 9)
    state: dict[str, torch.Tensor] = {}
    parts = [("perceiver.", donor.system.resampler, resampler_places)]
    for layer, gated in zip((1, 3), donor.system.gated):
        parts.append((f"lang_encoder.gpt_neox.layers.{layer}.gated_cross_attn_layer.", gated, gated_places))
    for prefix, part, places in parts:
        halves: dict[str, dict[int, torch.Tensor]] = {}
        for name, place in places(part, prefix).items():
            tensor = part.state_dict()[name].clone()
            if place.third is None:
                state[place.names[0]] = tensor
            else:
                halves.setdefault(place.names[0], {})[place.third] = tensor
        state |= {name: torch.cat([both[0], both[1]]) for name, both in halves.items()}
    words = torch.randn(model.tokens.size, 32)
    words[[model.config.image_mark, model.config.chunk_end]] = donor.system.marks
    state["lang_encoder.gpt_neox.embed_in.weight"] = words
    return model, donor, state


@torch.no_grad()
def test_the_bridge_of_open_flamingo(tmp_path: Path) -> None:
    """Its checkpoint has the new words, the resampler and the gated layers, these under the layers they precede."""
    model, donor, state = bridge(tmp_path / "words")
    words = state["lang_encoder.gpt_neox.embed_in.weight"]
    torch.save(
        {"model_state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "c.pt"
    )
    end = model.config.chunk_end
    tied = {**state, "lang_encoder.lm_head.weight": words}
    torch.save({"model_state_dict": tied}, tmp_path / "tied.pt")
    assert not with_part(model, "bridge", tmp_path / "tied.pt").config.own_end
    written = {**state, "lang_encoder.embed_out.weight": torch.randn(model.tokens.size, 32)}
    torch.save({"model_state_dict": written}, tmp_path / "untied.pt")
    untied = with_part(model, "bridge", tmp_path / "untied.pt")
    assert untied.config.own_end and untied.system.marks.shape == (3, 32)
    assert torch.equal(untied.system.marks[2], written["lang_encoder.embed_out.weight"][end])
    pairloom.model.save(untied, tmp_path / "kept")
    assert torch.equal(pairloom.load(tmp_path / "kept").system.marks, untied.system.marks)
    model = with_part(fresh(*TWO_LAYERS, "frames=0"), "language", tmp_path / "words")
    made = with_part(model, "bridge", tmp_path / "c.pt")
    ours, theirs = tensors_of(made.system), tensors_of(donor.system)
    moved = [name for name in ours if name.startswith(("resampler.", "gated.", "marks"))]
    assert len(moved) > 20 and all(torch.equal(ours[name], theirs[name]) for name in moved)
    with pytest.raises(Mistake, match="before layers 1, 3, here before 0, 2"):
        with_part(
            with_part(fresh("every=2", "resampler_width=48", "frames=0"), "language", tmp_path / "words"),
            "bridge",
            tmp_path / "c.pt",
        )


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    language_folder(tmp_path / "words")
    (tmp_path / "words" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(Mistake, match="does not say how a text ends"):
        with_part(fresh(), "language", tmp_path / "words")
    (tmp_path / "words" / "tokenizer.json").write_text("{}")
    with pytest.raises(Mistake, match="is not a tokenizer"):
        with_part(fresh(), "language", tmp_path / "words")
    (tmp_path / "words" / "tokenizer.json").unlink()
    with pytest.raises(Mistake, match="There is no tokenizer"):
        with_part(fresh(), "language", tmp_path / "words")
    clip_folder(tmp_path / "clip")
    with pytest.raises(Mistake, match="no causal language model for 'clip'"):
        (tmp_path / "words" / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
        language_folder(tmp_path / "words")
        told = json.loads((tmp_path / "clip" / "config.json").read_text())
        (tmp_path / "words" / "config.json").write_text(json.dumps(told))
        with_part(fresh(), "language", tmp_path / "words")
    with pytest.raises(Mistake, match="cannot be the picture tower"):
        save(fresh(), tmp_path / "flamingo")
        with_part(fresh(), "vision", tmp_path / "flamingo")
