"""What ALBEF says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.tensors import put_shared, tensors_of
from pairloom.blocks.text import WRITE
from pairloom.data.batch import Batch, Texts
from pairloom.objectives import match
from pairloom.objectives.distilled import distilled_loss
from pairloom.objectives.match import hard_pairs
from pairloom.systems import albef, albef_nlvr, albef_vqa
from pairloom.train.order import TrainRequest
from pairloom.train.region_inputs import completed
from pairloom.verbs import Progress
from pairloom.world import World
from pairloom.world.asked import write_examples


def built(**changes) -> albef.System:
    torch.manual_seed(0)
    system = albef.System(replace(albef.TINY, **changes)).eval()
    with torch.no_grad():  # fresh heads start near nothing
        for name, parameter in system.named_parameters():
            parameter += (0.0 if name == "temperature" else 0.1) * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def batch() -> Batch:
    return albef.example(albef.TINY, torch.Generator().manual_seed(3))


def test_paper_sizes() -> None:
    """A ViT-B/16 at 256 px of 85.8 million parameters, and a BERT of 123.7 with its cross-attention and its head."""
    with torch.device("meta"):
        towers = albef.System(replace(albef.Config(), momentum=0.0)).towers
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in towers.named_children()}
    assert round(count["image"] / 1e6, 1) == 85.8
    assert round((count["text"] + count["fusion"] + count["language_head"]) / 1e6, 1) == 123.7
    assert not any(layer.cross for layer in towers.text.stack.layers)
    assert all(len(layer.cross) == 1 for layer in towers.fusion.layers)


def test_a_text_has_no_end_token(batch) -> None:
    """What the released tokenizer never wrote is not read: other ids and no [SEP] give the same scores."""
    system, c = built(), albef.TINY
    mask = batch.texts.mask & (batch.texts.ids != c.sep)
    without = replace(batch, texts=Texts(batch.texts.ids.masked_fill(~mask, c.pad), mask))
    with torch.no_grad():
        assert torch.equal(system.match(batch), system.match(without))
        assert torch.equal(system.embed_text(batch), system.embed_text(without))


def test_fusion_goes_on_from_the_rows_of_the_text_encoder(batch, monkeypatch) -> None:
    """A text is encoded once for contrast and matching; masked words are a pass of their own through both halves."""
    system, passes = built(), []
    system.towers.text.register_forward_hook(lambda _, inputs, __: passes.append(inputs[0]))
    system.losses(batch)
    assert len(passes) == 2 and torch.equal(passes[0], batch.texts.ids)
    assert (passes[1] == albef.TINY.mask).any()


def test_wrong_partners_are_drawn_by_the_students_row_and_the_teachers_key(batch, monkeypatch) -> None:
    system, seen = built(), []
    monkeypatch.setattr(match, "hard_pairs", lambda *given: seen.append(given) or hard_pairs(*given))
    system.losses(batch)
    image, text, ids, temperature, _, (image_keys, text_keys) = seen[0]
    teacher = system.contrast.teacher
    with torch.no_grad():
        torch.testing.assert_close(image, system.embed_image(batch))
        torch.testing.assert_close(image_keys, teacher.embed_image(teacher.encode(batch.images)))
    assert not torch.allclose(text, text_keys) and torch.equal(ids, torch.arange(6))
    assert temperature.item() == pytest.approx(0.07)


def test_a_hard_negative_by_keys() -> None:
    """Image 0 is nearest to the key of text 1, text 0 to the key of image 2: of many draws nearly all take them."""
    axes = torch.eye(3)
    images, texts, ids = axes[[0, 1, 2]], axes[[0, 1, 2]], torch.arange(3)
    keys = (axes[[1, 2, 0]], axes[[2, 0, 1]])
    for seed in range(5):
        wrong_text, wrong_image, _ = hard_pairs(images, texts, ids, torch.tensor(0.05), seed, keys)
        assert (wrong_text[0], wrong_image[0]) == (1, 2)


def test_a_third_of_the_pairs_that_are_matched_are_right(batch, monkeypatch) -> None:
    system, seen = built(), []
    loss = match.match_loss
    monkeypatch.setattr(match, "match_loss", lambda *given: seen.append(given) or loss(*given))
    system.losses(batch)
    logits, together, counts = seen[0]
    assert len(logits) == 18 and together.tolist() == [1] * 6 + [0] * 12 and bool(counts.all())


def test_soft_targets_of_masked_words_by_hand() -> None:
    scores, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    logs, soft = scores.log_softmax(1)[0], teacher.softmax(1)[0]
    expected = 0.6 * -logs[1] + 0.4 * -(soft * logs).sum()
    torch.testing.assert_close(distilled_loss(scores, torch.tensor([1]), teacher, 0.4), expected)
    hard = F.cross_entropy(scores, torch.tensor([1]))
    torch.testing.assert_close(distilled_loss(scores, torch.tensor([1]), teacher, 0.0), hard)


def test_the_teacher_reads_the_same_hidden_words_and_its_own_picture(batch) -> None:
    system, read = built(), {}
    for name, towers in (("mine", system.towers), ("slow", system.contrast.teacher)):
        towers.text.register_forward_hook(lambda _, inputs, __, name=name: read.update({name: inputs[0]}))
        whole = towers.words
        towers.words = lambda *given, name=name, whole=whole: (
            read.update({f"{name} rows": given[2].rows}) or whole(*given)
        )
    system.begin(Progress(30, 1.0, 60))
    system.losses(batch)
    assert torch.equal(read["mine"], read["slow"]) and (read["slow"] == albef.TINY.mask).any()
    torch.testing.assert_close(read["slow rows"], system.contrast.teacher.encode(batch.images).rows)


def test_the_weight_of_the_teacher_grows_over_the_first_epoch() -> None:
    system = built()
    weights = []
    for epoch in (0.0, 0.25, 1.0, 7.0):
        system.begin(Progress(1, epoch, 9))
        weights.append(round(system._alpha, 6))
    assert weights == [0.0, 0.1, 0.4, 0.4]


def test_without_a_teacher_targets_are_hard(batch) -> None:
    """A fine-tuning of published weights may leave the copy out; its losses are the teacher's at alpha 0 without a queue."""
    system = built(momentum=0.0, queue=0)
    assert system.contrast is None and set(system.losses(batch)) == {"itc", "itm", "mlm"}
    image, text = system.embed_image(batch), system.embed_text(batch)
    logits = image @ text.T / system.temperature
    expected = (F.cross_entropy(logits, torch.arange(6)) + F.cross_entropy(logits.T, torch.arange(6))) / 2
    torch.testing.assert_close(system.losses(batch)["itc"], expected)


def test_what_is_not_learned_is_not_asked() -> None:
    assert [one.name for one in built(itm=0.0).abilities] == ["embed"]
    assert albef.PRESETS["retrieval"].mlm == 0 and "mlm" not in built(mlm=0.0).losses(
        albef.example(albef.TINY, torch.Generator().manual_seed(3))
    )


@torch.no_grad()
def test_fusion_layers_are_doubled_for_two_pictures_and_share_keys_and_values() -> None:
    torch.manual_seed(0)
    system = albef_nlvr.System(replace(albef_nlvr.TINY, fusion_depth=2)).eval()
    layers = [layer.cross[0].fn for layer in system.fusion.layers]
    assert len(layers) == 4 and layers[0].key is layers[1].key and layers[2].value is layers[3].value
    assert layers[1].key is not layers[2].key and layers[0].query is not layers[1].query
    batch = albef_nlvr.example(albef_nlvr.TINY, torch.Generator().manual_seed(3))
    assert system.text.embed[0].words.weight.shape[0] == 64
    encoded = system.encode_image(batch).encoded
    tokens, mask = batch.text()
    mask = mask & (tokens != albef_nlvr.TINY.sep)
    rows = system.text(tokens, mask)
    for index, layer in enumerate(system.fusion.layers):  # the even ones read the first picture
        rows = layer(rows, mask[:, None, None], system.fusion.project(encoded[:, index % 2]), index)
    torch.testing.assert_close(system.match_logits(batch), system.head(rows[:, 0]))
    with pytest.raises(ValueError, match="needs 2 pictures"):
        system.match(replace(batch, images=batch.images[:, :1]))


def test_both_layers_of_a_pair_begin_as_the_pretrained_one() -> None:
    before, system = albef.System(albef.TINY), albef_nlvr.System(albef_nlvr.TINY)
    theirs = tensors_of(before, before.training_state)
    stays = put_shared(system, albef_nlvr.from_albef(theirs, albef_nlvr.TINY))
    assert stays and all(name.startswith("head.") for name in stays)
    first, second = (layer.feed[0].fn.up.weight for layer in system.fusion.layers)
    assert torch.equal(first, second) and torch.equal(
        first, theirs["towers.fusion.layers.0.feed.0.fn.up.weight"]
    )


def answering() -> tuple[albef_vqa.System, Batch]:
    torch.manual_seed(0)
    system = albef_vqa.System(replace(albef_vqa.TINY, fusion_depth=2, answer_depth=2)).eval()
    return system, albef_vqa.example(albef_vqa.TINY, torch.Generator().manual_seed(3))


@torch.no_grad()
def test_the_decoder_reads_the_question_after_it_has_met_the_picture() -> None:
    """And nothing else: not its [SEP], and of the picture only what the question's rows say."""
    system, batch = answering()
    ids, mask = batch.question.texts.ids, batch.question.texts.mask & (batch.question.texts.ids != 3)
    rows = system.text(ids, mask)
    for index, layer in enumerate(system.fusion.layers):
        pictures = system.fusion.project(system.encode_image(batch).encoded.flatten(1, 2))
        rows = layer(rows, mask[:, None, None], pictures, index)
    answer = system.answer(batch.texts.ids, batch.texts.mask, system.answer.stack.project(rows, mask), WRITE)
    torch.testing.assert_close(system.logits(batch), system.head(answer, system.answer.words))


def test_the_decoder_begins_as_the_fusion_layers_of_the_pretrained_model() -> None:
    """Six layers of it in the paper; the embeddings and the head of words are the text encoder's."""
    before = albef.System(replace(albef.TINY, image_width=32))
    system = albef_vqa.System(replace(albef_vqa.TINY, image_width=32))
    theirs = tensors_of(before, before.training_state)
    assert not put_shared(system, albef_vqa.from_albef(theirs, albef_vqa.TINY))
    for ours, name in (
        ("answer.stack.layers.0.cross.0.fn.key.weight", "fusion.layers.0.cross.0.fn.key.weight"),
        ("answer.embed.0.words.weight", "text.embed.0.words.weight"),
        ("head.dense.weight", "language_head.dense.weight"),
    ):
        assert torch.equal(system.state_dict()[ours], theirs[f"towers.{name}"])


def test_the_released_fine_tuning_for_questions() -> None:
    base, recipe = albef_vqa.PRESETS["base"], albef_vqa.RECIPES["base"]
    assert (base.image_size, base.depth, base.fusion_depth, base.answer_depth) == (384, 6, 6, 6)
    assert {"lr": 2e-5, "batch": 256, "epochs": 8, "weight_decay": 0.02}.items() <= recipe.items()


def test_training_on_statements_makes_a_judge_of_what_never_judged(tmp_path: Path) -> None:
    """The published file for NLVR2 has learnt text assignment alone."""
    write_examples(World(4, seed=3, level="simple", size=32), tmp_path / "set", "statements")
    request = TrainRequest("albef_nlvr", tmp_path / "set", tmp_path / "out", ("model.judges=false",), "tiny")
    assert completed(request, None).of("model") == ["judges=false"]
    assert completed(replace(request, settings=()), None).of("model")[-1] == "judges=True"
