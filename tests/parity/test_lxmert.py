"""LXMERT beside transformers' classes, with random weights: outputs, every loss, and folders both ways."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from transformers import (  # noqa: E402
    LxmertConfig,
    LxmertForPreTraining,
    LxmertForQuestionAnswering,
    LxmertModel,
)

import pairloom  # noqa: E402
from pairloom.data.batch import Batch  # noqa: E402
from pairloom.data.random_batch import random_regions  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model  # noqa: E402
from pairloom.objectives.masked import MaskedTokens  # noqa: E402
from pairloom.systems import _fusion as fusion  # noqa: E402
from pairloom.weights import exchange  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights"))
from published import bert_tokens, scatter  # noqa: E402

NEAR = dict(atol=1e-5, rtol=1e-5)
SIZES = dict(
    hidden_size=48, num_attention_heads=4, intermediate_size=192, num_object_labels=8, num_attr_labels=5, num_qa_labels=7,
    l_layers=3, r_layers=2, x_layers=2, visual_feat_dim=20, max_position_embeddings=40, visual_loss_normalizer=1 / 0.15,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip


def folder_of(kind: type, where: Path, **changes) -> Path:
    """Random weights of a class, as it saves them, with a tokenizer."""
    tokens = bert_tokens()
    model = kind(LxmertConfig(**SIZES | {"vocab_size": tokens.size} | changes)).eval()
    scatter(model, 4)
    model.save_pretrained(where)
    tokens.save(where)
    return where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(LxmertForPreTraining, tmp_path_factory.mktemp("lxmert") / "theirs")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> LxmertForPreTraining:
    return LxmertForPreTraining.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def ours(folder: Path) -> Model:
    return pairloom.load(folder)


@pytest.fixture(scope="module")
def batch(ours: Model) -> Batch:
    return random_regions(ours.config, torch.Generator().manual_seed(1), attributes=ours.config.attributes)


def inputs(batch: Batch) -> dict[str, torch.Tensor]:
    regions = fusion.regions_of(batch)
    return dict(
        input_ids=batch.texts.ids, attention_mask=batch.texts.mask.long(), visual_feats=regions.features,
        visual_pos=regions.boxes, visual_attention_mask=regions.mask.long(),
    )  # fmt: skip


@torch.no_grad()
def test_outputs(theirs, ours: Model, batch: Batch) -> None:
    assert ours.name == "lxmert" and [one.name for one in ours.system.abilities] == ["match", "choose"]
    expected = theirs(**inputs(batch))
    bare = theirs.lxmert(**inputs(batch))
    regions = fusion.regions_of(batch)
    words, places = ours.system.read_pairs(batch.texts, regions)
    real = batch.texts.mask
    torch.testing.assert_close(words[real], bare.language_output[real], **NEAR)
    torch.testing.assert_close(places[regions.mask], bare.vision_output[regions.mask], **NEAR)
    torch.testing.assert_close(ours.system.pool(words, places), bare.pooled_output, **NEAR)
    torch.testing.assert_close(ours.system.match_logits(batch), expected.cross_relationship_score, **NEAR)
    torch.testing.assert_close(ours.system.answer_logits(batch), expected.question_answering_score, **NEAR)
    scores = ours.system.language_head(words, ours.system.text.words.weight)
    torch.testing.assert_close(scores[real], expected.prediction_logits[real], **NEAR)


def test_every_loss_and_its_gradient(theirs, ours: Model, batch: Batch, monkeypatch) -> None:
    """The same words and regions hidden, the same pair wrong: each loss by itself, then the sum and the gradient of the words."""
    from pairloom.systems import lxmert

    full = torch.ones_like(batch.regions.mask)
    # their mean over regions counts padding: ours is compared where there is none
    batch = replace(
        batch, regions=replace(batch.regions, mask=full), labels=torch.tensor([3, -1, 0, 5, -1, 2])
    )
    hidden_words = (
        torch.rand(batch.texts.ids.shape, generator=torch.Generator().manual_seed(3)) < 0.4
    ) & batch.texts.mask
    ids = batch.texts.ids.masked_fill(hidden_words, ours.config.mask)
    hidden = torch.rand(full[:, 0].shape, generator=torch.Generator().manual_seed(4)) < 0.4
    wrong = torch.tensor([False, True, False, False, True, False])
    monkeypatch.setattr(lxmert, "mismatched_half", lambda *_: (torch.arange(6), wrong))
    monkeypatch.setattr(lxmert, "mask_words", lambda *_: MaskedTokens(ids, hidden_words))
    monkeypatch.setattr(lxmert, "mask_regions", lambda *_: hidden)
    monkeypatch.setattr(
        lxmert,
        "hide_features",
        lambda features, hidden, *_, **__: features.masked_fill(hidden[..., None], 0.0),
    )
    losses = ours.system.losses(batch)

    regions = fusion.regions_of(batch)
    given = inputs(batch) | {"input_ids": ids}
    given["visual_feats"] = regions.features.masked_fill(hidden[..., None], 0.0)
    objects, attributes = (
        one[..., 1:].max(-1) for one in (regions.class_probabilities, regions.attribute_probabilities)
    )
    share = hidden.float()
    labels = {
        "obj": (objects.indices, objects.values * share),
        "attr": (attributes.indices, attributes.values * share),
        "feat": (regions.features, share),
    }
    answers = torch.where(wrong | (batch.labels < 0), -100, batch.labels)
    parts = {
        "mlm": dict(labels=batch.texts.ids.masked_fill(~hidden_words, -100)),
        "match": dict(matched_label=(~wrong).long()),
        "answer": dict(ans=answers),
    }
    for name, wanted in parts.items():
        torch.testing.assert_close(losses[name], theirs(**given, **wanted).loss, **NEAR)
    for name, key in (("object", "obj"), ("attribute", "attr"), ("feature", "feat")):
        alone = {
            other: (value, conf if other == key else 0 * conf) for other, (value, conf) in labels.items()
        }
        torch.testing.assert_close(losses[name], theirs(**given, obj_labels=alone).loss, **NEAR)
    whole = theirs(
        **given, **{key: value for one in parts.values() for key, value in one.items()}, obj_labels=labels
    ).loss
    total = torch.stack(list(losses.values())).sum()
    torch.testing.assert_close(total, whole, **NEAR)
    total.backward()
    whole.backward()
    torch.testing.assert_close(
        ours.system.text.words.weight.grad, theirs.lxmert.embeddings.word_embeddings.weight.grad, **NEAR
    )


def test_a_folder_goes_back_with_the_same_bits(
    folder: Path, ours: Model, batch: Batch, tmp_path: Path
) -> None:
    exchange.export(ours, tmp_path / "out")
    before, after = (load_file(where / "model.safetensors") for where in (folder, tmp_path / "out"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    again = LxmertForPreTraining.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        scores = again(**inputs(batch)).cross_relationship_score
        torch.testing.assert_close(ours.system.match_logits(batch), scores, **NEAR)


def test_questions_with_the_list_of_their_answers(tmp_path: Path, batch: Batch) -> None:
    where = folder_of(LxmertForQuestionAnswering, tmp_path / "theirs")
    assert pairloom.load(where).config.answer_list == ()
    names = ["yes", "no", "2", "red", "a cat", "left", "1"]
    (where / "trainval_label2ans.json").write_text(json.dumps(names))
    model = pairloom.load(where)
    assert model.config.answer_list == tuple(names)
    assert [(one.name, one.reads) for one in model.system.abilities] == [("choose", "question")]
    with torch.no_grad():
        expected = LxmertForQuestionAnswering.from_pretrained(where).eval()(**inputs(batch))
        torch.testing.assert_close(
            model.system.answer_logits(batch), expected.question_answering_score, **NEAR
        )
    exchange.export(model, tmp_path / "out")
    assert pairloom.load(tmp_path / "out").config == model.config
    (where / "trainval_label2ans.json").write_text(json.dumps(names[:3]))
    with pytest.raises(Mistake, match="not the list of the answers"):
        pairloom.load(where)


def test_the_authors_own_file(folder: Path, ours: Model, batch: Batch, tmp_path: Path) -> None:
    """bert. in place of lxmert., the decoder of masked words stored a second time; heads of 64 columns."""
    where = folder_of(
        LxmertForPreTraining, tmp_path / "wide", hidden_size=64, num_attention_heads=1, intermediate_size=256
    )
    tensors = {
        name.replace("lxmert.", "bert.", 1): one
        for name, one in load_file(where / "model.safetensors").items()
    }
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    (tmp_path / "tokenizer.json").write_text((where / "tokenizer.json").read_text())
    torch.save({f"module.{name}": one for name, one in tensors.items()}, tmp_path / "model_LXRT.pth")
    model, expected = pairloom.load(tmp_path / "model_LXRT.pth"), pairloom.load(where)
    with torch.no_grad():
        assert torch.equal(
            model.system.match_logits(batch_for(model)), expected.system.match_logits(batch_for(model))
        )


def batch_for(model: Model) -> Batch:
    return random_regions(model.config, torch.Generator().manual_seed(2))


def test_what_is_no_lxmert_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Mistake, match="can be asked nothing|can be asked anything"):
        pairloom.load(folder_of(LxmertModel, tmp_path / "bare"))
    where = folder_of(LxmertForPreTraining, tmp_path / "odd")
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(Mistake, match="'hidden_act'"):
        pairloom.load(where)
