"""BLIP's tasks beside others: VQA beside transformers' class, NLVR2 beside the published formulae over the published names."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import BlipConfig, BlipForQuestionAnswering  # noqa: E402

import pairloom  # noqa: E402
from pairloom.blocks.text import begin_with  # noqa: E402
from pairloom.data.batch import Batch, Texts  # noqa: E402
from pairloom.data.records import Questions  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, at_size, build  # noqa: E402
from pairloom.systems import blip_nlvr  # noqa: E402
from pairloom.tasks.decode import Writing, decode  # noqa: E402
from pairloom.weights import salesforce, salesforce_tasks, transformers_vqa  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights"))
from published import bert_tokens, processor, scatter  # noqa: E402

BATCH, WIDTH = 5, 96
NEAR = dict(atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of their class, as it saves them, with a tokenizer."""
    tokens, where = bert_tokens(), tmp_path_factory.mktemp("vqa") / "theirs"
    text = dict(
        vocab_size=tokens.size, hidden_size=WIDTH, encoder_hidden_size=WIDTH, intermediate_size=4 * WIDTH,
        num_hidden_layers=3, num_attention_heads=6, max_position_embeddings=40, layer_norm_eps=1e-12, label_smoothing=0.1,
        bos_token_id=tokens.dec, pad_token_id=tokens.pad, sep_token_id=tokens.sep, eos_token_id=tokens.sep,
    )  # fmt: skip
    image = dict(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=3, num_attention_heads=4, image_size=48,
        patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    model = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=image)).eval()
    scatter(model, 4)
    model.save_pretrained(where)
    tokens.save(where)
    processor(where, 48, "Blip")
    return where


@pytest.fixture(scope="module")
def theirs(folder: Path) -> BlipForQuestionAnswering:
    return BlipForQuestionAnswering.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def ours(folder: Path) -> Model:
    return pairloom.load(folder)


def texts(lengths: list[int], model: Model, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of random words, [CLS] ... [SEP], padded."""
    tokens = torch.randint(8, 60, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    keep = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens[:, 0] = model.tokens.cls
    tokens[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = model.tokens.sep
    return tokens.masked_fill(~keep, model.tokens.pad), keep


def pictures() -> Tensor:
    return torch.randn(BATCH, 1, 3, 48, 48, generator=torch.Generator().manual_seed(3))


def asked(model: Model, lengths: list[int]) -> tuple[Batch, dict[str, Tensor]]:
    """A batch with questions of these lengths and answers, and what their class is given."""
    question, question_keep = texts(lengths, model, 5)
    answers, keep = texts([4, 3, 6, 5, 4], model, 6)
    batch = Batch(
        images=pictures(),
        texts=Texts(answers, keep),
        question=Questions(Texts(question, question_keep)),
    )
    enc = begin_with(model.tokens.enc, question)
    return batch, dict(input_ids=enc, attention_mask=question_keep.long(), pixel_values=batch.images[:, 0])


@torch.no_grad()
def test_questions_read_and_answers_scored(theirs, ours: Model) -> None:
    """Row by row there: transformers 5.23 drops the mask of what is attended across, so that its writer sees a question's
    padding in training, too (the released code and ours do not)."""
    assert ours.name == "blip_vqa" and (ours.config.width, ours.config.heads, ours.config.image_heads) == (
        WIDTH,
        6,
        4,
    )
    batch, given = asked(ours, [7, 5, 9, 4, 6])
    said, sums = ours.system.logits(batch), []
    for row in range(BATCH):
        real, kept = given["attention_mask"][row].bool(), batch.texts.mask[row]
        alone = dict(
            input_ids=given["input_ids"][row : row + 1, real],
            pixel_values=given["pixel_values"][row : row + 1],
        )
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        dec = begin_with(ours.tokens.dec, batch.texts.ids[row : row + 1, kept])
        expected = theirs(**alone, decoder_input_ids=dec, labels=dec)
        states = theirs.text_encoder(
            input_ids=alone["input_ids"], attention_mask=alone["attention_mask"],
            encoder_hidden_states=expected.image_embeds,
        )[0]  # fmt: skip
        logits = theirs.text_decoder(input_ids=dec, encoder_hidden_states=states).logits[0]
        torch.testing.assert_close(said[row, kept], logits, **NEAR)
        sums.append(expected.loss * (kept.sum() - 1))
    weight = torch.tensor([0.3, 1.0, 0.6, 0.2, 0.9])
    batch = replace(batch, weights=weight)
    torch.testing.assert_close(
        ours.system.losses(batch)["answer"], (weight * torch.stack(sums)).sum() / BATCH, **NEAR
    )


@pytest.mark.parametrize("bias", [-30.0, 3.5, 5.0])
@pytest.mark.parametrize(("way", "beams"), [("greedy", 1), ("beam", 3), ("beam", 5)])
def test_the_same_answers(theirs, ours: Model, way: str, beams: int, bias: float) -> None:
    """Their class lets the writer see a question's padding, so the questions here have one length."""
    with torch.no_grad():
        for vector in (theirs.text_decoder.cls.predictions.bias, ours.system.head.bias):
            vector[ours.tokens.sep] = bias
    batch, given = asked(ours, [7] * BATCH)
    made = theirs.generate(**given, num_beams=beams, max_length=10, min_length=1, do_sample=False)
    rows = [row[1:] for row in made.tolist()]
    expected = [row[: row.index(ours.tokens.sep)] if ours.tokens.sep in row else row for row in rows]
    found = decode(ours.system, batch, Writing(way=way, beams=beams, max_length=10, min_length=1))
    assert [list(row[0].tokens) for row in found] == expected
    assert (bias > 0) == any(row[0].ended for row in found)


def test_vqa_goes_round(folder: Path, tmp_path: Path) -> None:
    model = pairloom.load(pairloom.save(pairloom.load(folder), tmp_path / "ours"))
    transformers_vqa.export(model, tmp_path / "out")
    first, second = load_file(folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    _, info = BlipForQuestionAnswering.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    old = {
        "text_decoder.cls.predictions.decoder.weight": first[
            "text_decoder.bert.embeddings.word_embeddings.weight"
        ].clone()
    }
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / "ours" / name).write_bytes((folder / name).read_bytes())
    save_file(first | old, tmp_path / "ours" / "model.safetensors")
    assert pairloom.load(tmp_path / "ours").name == "blip_vqa"
    large = build("blip_vqa", bert_tokens(), "tiny")
    with pytest.raises(Mistake, match="no class for this model"):
        transformers_vqa.export(large, tmp_path / "large")


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-12)


def attend(
    state: dict[str, Tensor], name: str, x: Tensor, context: Tensor, heads: int, mask: Tensor | None
) -> Tensor:
    """softmax(q k / sqrt d) v by hand, before the output map."""
    q, k, v = (
        linear(state, f"{name}.{part}", rows).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part, rows in (("query", x), ("key", context), ("value", context))
    )
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def nlvr_by_hand(
    state: dict[str, Tensor], tokens: Tensor, keep: Tensor, images: list[Tensor], config
) -> Tensor:
    """Section 5.4 and the published names: outputs of the two cross-attentions averaged, from merge_from on concatenated
    and mapped; one residual, one norm."""
    t = "text_encoder."
    x = F.embedding(tokens, state[f"{t}embeddings.word_embeddings.weight"])
    x = norm(
        state,
        f"{t}embeddings.LayerNorm",
        x + state[f"{t}embeddings.position_embeddings.weight"][: x.shape[1]],
    )
    for number in range(config.depth):
        layer = f"{t}encoder.layer.{number}."
        y = attend(state, f"{layer}attention.self", x, x, config.heads, keep)
        x = norm(
            state,
            f"{layer}attention.output.LayerNorm",
            x + linear(state, f"{layer}attention.output.dense", y),
        )
        c = f"{layer}crossattention."
        sides = [
            linear(
                state,
                f"{c}output.dense{side}",
                attend(state, f"{c}self{side}", x, images[side], config.heads, None),
            )
            for side in (0, 1)
        ]
        both = (sides[0] + sides[1]) / 2
        if number >= config.merge_from:
            both = linear(state, f"{c}output.merge_layer", torch.cat(sides, -1))
        x = norm(state, f"{c}output.LayerNorm", x + both)
        y = linear(state, f"{layer}output.dense", F.gelu(linear(state, f"{layer}intermediate.dense", x)))
        x = norm(state, f"{layer}output.LayerNorm", x + y)
    return linear(state, "cls_head.2", F.relu(linear(state, "cls_head.0", x[:, 0])))


def nlvr_model() -> Model:
    sizes = [
        "width=64",
        "heads=1",
        "depth=4",
        "image_width=64",
        "image_heads=1",
        "image_size=48",
        "merge_from=2",
    ]
    model = build("blip_nlvr", bert_tokens(), "tiny", sizes).eval()
    scatter(model.system, 8)
    return model


@torch.no_grad()
def test_nlvr_by_the_published_formulae() -> None:
    model = nlvr_model()
    tokens, keep = texts([7, 5, 9, 4, 6], model, 5)
    images = torch.randn(BATCH, 2, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    seen = model.system.encode_image(Batch(images=images)).encoded
    state = salesforce_tasks.to_published(model.system)
    enc = begin_with(model.tokens.enc, tokens)
    expected = nlvr_by_hand(state, enc, keep, [seen[:, 0], seen[:, 1]], model.config)
    batch = Batch(images=images, texts=Texts(tokens, keep))
    torch.testing.assert_close(model.system.match_logits(batch), expected, **NEAR)
    torch.testing.assert_close(model.system.match(batch), expected[:, 1] - expected[:, 0], **NEAR)
    turned = nlvr_by_hand(state, enc, keep, [seen[:, 1], seen[:, 0]], model.config)
    assert (turned - expected).abs().max() > 1e-2


def publish(model: Model, where: Path) -> Path:
    """A .pth as they wrote it."""
    where.mkdir()
    extra = {"text_encoder.embeddings.position_ids": torch.arange(16)[None]}
    torch.save(
        {"model": salesforce_tasks.to_published(model.system) | extra, "epoch": 3}, where / "model.pth"
    )
    model.tokens.save(where)
    return where / "model.pth"


def test_salesforces_files_go_round(tmp_path: Path) -> None:
    vqa = build(
        "blip_vqa", bert_tokens(), "tiny", ["width=64", "heads=1", "image_width=128", "image_heads=2"]
    )
    for made in (nlvr_model(), vqa):
        found = pairloom.load(publish(made, tmp_path / made.name))
        assert found.name == made.name and found.config.image_size == made.config.image_size
        ours, back = made.system.state_dict(), found.system.state_dict()
        assert ours.keys() == back.keys() and all(torch.equal(ours[name], back[name]) for name in ours)
    assert pairloom.load(tmp_path / "blip_nlvr" / "model.pth").config.merge_from == 2
    bigger = at_size(found, 64)
    assert bigger.system.image.embed.positions.shape[1] == 1 + 8 * 8
    tensors = torch.load(tmp_path / "blip_nlvr" / "model.pth", weights_only=True)["model"]
    assert {
        "text_encoder.encoder.layer.2.crossattention.output.merge_layer.weight",
        "cls_head.2.bias",
    } < tensors.keys()
    assert "text_encoder.encoder.layer.1.crossattention.output.merge_layer.weight" not in tensors
    del tensors["text_encoder.encoder.layer.1.crossattention.self1.key.weight"]
    torch.save({"model": tensors}, tmp_path / "blip_nlvr" / "model.pth")
    with pytest.raises(Mistake, match="Missing: text.stack.layers.1.cross.0.fn.each.1.key.weight"):
        pairloom.load(tmp_path / "blip_nlvr" / "model.pth")


def test_published_sizes_and_starts() -> None:
    """361 M parameters of VQA (Table 3, "none"); twin cross-attention begins as two of the pre-trained one."""
    from pairloom.systems import blip, blip_vqa

    with torch.device("meta"):
        count = sum(one.numel() for one in blip_vqa.System(blip_vqa.PRESETS["base"]).parameters())
        whole = blip.System(blip.Config(queue=0, momentum=0.0))
        started = blip_nlvr.STARTS["blip"](whole.state_dict(), blip_nlvr.Config())
        system = blip_nlvr.System(blip_nlvr.Config())
    assert abs(count / 1e6 - 361.2) < 1.0  # 480 px has more positions than the counted one
    fresh = [name for name in system.state_dict() if name not in started]
    merges = {
        f"text.stack.layers.{n}.cross.0.fn.merge.{kind}" for n in range(6, 12) for kind in ("weight", "bias")
    }
    assert set(fresh) == merges | {f"head.{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")}
    assert salesforce.task_of(["text_encoder.x", "text_decoder.y", "itm_head.weight"]) == ""
