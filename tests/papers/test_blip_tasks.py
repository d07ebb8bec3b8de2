"""BLIP's tasks, sentence by sentence: sections 5.3 (VQA), 5.4 (NLVR2) and 5.5 (VisDial), and where the paper is silent its
released code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.multi_image import MultiImageAttention
from pairloom.data.batch import Batch, Texts
from pairloom.data.records import Questions
from pairloom.systems import blip_nlvr, blip_visdial, blip_vqa


def build(module: Any, seed: int = 0, **settings: Any) -> Any:
    """A system at TINY size whose every part matters."""
    torch.manual_seed(seed)
    system = module.System(replace(module.TINY, **settings)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


def texts(rows: int, length: int, seed: int) -> torch.Tensor:
    tokens = torch.randint(5, 60, (rows, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0], tokens[:, -1] = 2, 3
    return tokens


def pictures(rows: int, each: int = 1) -> torch.Tensor:
    return torch.randn(rows, each, 3, 32, 32, generator=torch.Generator().manual_seed(9))


def test_fine_tuning_as_the_released_code_has_it() -> None:
    """vqa.yaml and nlvr.yaml: 480 and 384 px, drop path 0.1, batch 16 x 16, 2e-5 and 3e-5, 10 and 15 epochs; VisDial as the
    paper's appendix: batch 240, 2e-5, 20 epochs."""
    facts = {
        blip_vqa: (480, 0.1, 35, dict(lr=2e-5, epochs=10, batch=256)),
        blip_nlvr: (384, 0.1, 40, dict(lr=3e-5, epochs=15, batch=256)),
        blip_visdial: (384, 0.0, 256, dict(lr=2e-5, epochs=20, batch=240)),
    }
    for module, (size, path, length, recipe) in facts.items():
        base = module.PRESETS["base"]
        assert (base.image_size, base.drop_path, base.length) == (size, path, length)
        told = {**module.RECIPES["base"]}
        assert recipe.items() <= told.items() and told["schedule"] == "cosine" and told["min_lr"] == 0
        assert told["weight_decay"] == 0.05 and told["decay_all"] and not told["clip"]


# 5.3: picture and question are encoded together, and what comes of it is given to a decoder that writes the answer


@torch.no_grad()
def test_the_decoder_reads_the_question_alone_and_through_it_the_picture() -> None:
    system = build(blip_vqa)
    assert system.config.width != system.config.image_width  # so that it cannot read the picture's rows
    for layer in system.answer.stack.layers:
        assert layer.cross[0].fn.key.in_features == system.config.width
    batch = Batch(
        images=pictures(2),
        texts=Texts.unpadded(texts(2, 5, 1)),
        question=Questions(Texts.unpadded(texts(2, 6, 2))),
    )
    whole = system.logits(batch)
    for changed in (
        replace(batch, images=pictures(2).flip(0)),
        replace(batch, question=Questions(Texts.unpadded(texts(2, 6, 3)))),
    ):
        assert (system.logits(changed) - whole).abs().max() > 1e-3


@torch.no_grad()
def test_padding_of_a_question_says_nothing() -> None:
    system, question = build(blip_vqa), texts(2, 6, 2)
    batch = Batch(
        images=pictures(2), texts=Texts.unpadded(texts(2, 5, 1)), question=Questions(Texts.unpadded(question))
    )
    longer = F.pad(question, (0, 3), value=7)
    keep = F.pad(torch.ones_like(question).bool(), (0, 3))
    padded = replace(batch, question=Questions(Texts(longer, keep)))
    torch.testing.assert_close(system.logits(batch), system.logits(padded), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_several_questions_of_a_picture_and_several_answers_of_a_question() -> None:
    system = build(blip_vqa)
    images, question, answers = pictures(2), texts(3, 6, 2), texts(5, 4, 1)
    of_picture, of_question = torch.tensor([1, 0, 1]), torch.tensor([0, 2, 2, 1, 0])
    several = Questions(Texts.unpadded(question), of_picture)
    told = system.logits(
        Batch(images=images, texts=Texts.unpadded(answers), image_of=of_question, question=several)
    )
    for row, one in enumerate(of_question.tolist()):
        alone = Batch(
            images=images[of_picture[one]][None],
            texts=Texts.unpadded(answers[row : row + 1]),
            question=Questions(Texts.unpadded(question[one : one + 1])),
        )
        torch.testing.assert_close(told[row : row + 1], system.logits(alone), atol=1e-5, rtol=1e-4)


def test_an_answer_counts_by_its_share_and_a_question_once() -> None:
    """The sum over an answer's tokens, times its weight, summed, over the number of questions (label smoothing 0.1)."""
    system = build(blip_vqa)
    weight, owner = torch.tensor([0.6, 0.3, 0.2]), torch.tensor([0, 0, 1])
    tokens = texts(3, 5, 1)
    question = Questions(Texts.unpadded(texts(2, 6, 2)))
    batch = Batch(
        images=pictures(2), texts=Texts.unpadded(tokens), image_of=owner, question=question, weights=weight
    )
    logits = system.logits(batch)[:, :-1]
    each = F.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none", label_smoothing=0.1
    )
    expected = (each.view(3, 4).sum(1) * weight).sum() / 2
    torch.testing.assert_close(system.losses(batch)["answer"], expected)


# 5.4: every block has two cross-attention layers, one for each picture, begun from the same pre-trained weights; their outputs
# are merged before the feed-forward layer


def test_outputs_are_averaged_in_the_first_six_layers_and_projected_in_the_rest() -> None:
    with torch.device("meta"):
        system = blip_nlvr.System(blip_nlvr.PRESETS["base"])
    crosses = [layer.cross[0].fn for layer in system.text.stack.layers]
    assert all(isinstance(cross, MultiImageAttention) and len(cross.each) == 2 for cross in crosses)
    assert [cross.merge is not None for cross in crosses] == [False] * 6 + [True] * 6
    assert crosses[6].merge.weight.shape == (768, 1536)


@torch.no_grad()
def test_a_twin_is_the_mean_of_two_or_a_map_of_both() -> None:
    torch.manual_seed(0)
    x, left, right = torch.randn(2, 3, 8), torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    for merge in (False, True):
        twin = MultiImageAttention(2, 8, 2, 12, merge=merge)
        one, two = (attend(x, attend.project(rows)) for attend, rows in zip(twin.each, (left, right)))
        expected = twin.merge(torch.cat([one, two], -1)) if merge else (one + two) / 2
        said = twin(x, twin.project(torch.cat([left, right], 1)))
        torch.testing.assert_close(said, expected)


@torch.no_grad()
def test_two_of_the_same_picture_begin_as_the_pretrained_cross_attention() -> None:
    """Before the mean of equal outputs changes anything: in the averaging layers twice the same picture is one picture."""
    from pairloom.systems import blip

    torch.manual_seed(1)
    sizes = dict(
        image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, vocabulary=64, positions=16
    )
    sizes |= dict(width=40, depth=2, heads=2, dropout=0.0, cls=2, sep=3, dec=62, enc=63, length=12)
    before = blip.System(blip.Config(**sizes, queue=0, momentum=0.0)).eval()
    system = build(blip_nlvr, merge_from=2)
    started = blip_nlvr.STARTS["blip"](before.state_dict(), system.config)
    system.load_state_dict({**system.state_dict(), **started})
    tokens, image = texts(3, 6, 1), pictures(3)
    rows = before.encode_image(Batch(images=image)).encoded.rows
    expected = before.towers.text(
        torch.cat([torch.full((3, 1), 63), tokens[:, 1:]], 1), torch.ones(3, 6).bool(),
        before.towers.text.stack.project(rows.flatten(1, 2)),
    )  # fmt: skip
    seen: list[torch.Tensor] = []
    system.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    system.match_logits(Batch(images=image.repeat(1, 2, 1, 1, 1), texts=Texts.unpadded(tokens)))
    torch.testing.assert_close(seen[0], expected[:, 0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_left_and_right_are_told_apart_once_learnt() -> None:
    system, tokens = build(blip_nlvr), texts(3, 6, 1)
    images = pictures(3, 2)
    here, there = (
        system.match(Batch(images=one, texts=Texts.unpadded(tokens))) for one in (images, images.flip(1))
    )
    assert (here - there).abs().max() > 1e-3
    with pytest.raises(ValueError, match="needs 2 pictures"):
        system.match(Batch(images=pictures(3, 3), texts=Texts.unpadded(tokens)))


# 5.5: embeddings of picture and caption are put one after the other and read through cross-attention


@torch.no_grad()
def test_picture_and_caption_are_read_side_by_side() -> None:
    system = build(blip_visdial)
    tokens, caption = texts(2, 7, 1), texts(2, 5, 2)
    batch = Batch(images=pictures(2), texts=Texts.unpadded(tokens), caption=Texts.unpadded(caption))
    memory = system.encode_image(batch).encoded
    patches = (32 // 8) ** 2 + 1
    assert memory.layers[0].keys.shape[2] == patches + 5
    alone = system.encode_image(replace(batch, caption=None)).encoded
    torch.testing.assert_close(memory.layers[1].keys[:, :, :patches], alone.layers[1].keys)
    text = system.text(
        caption, torch.ones_like(caption).bool()
    )  # text mode: no cross-attention, [CLS] in front
    keys = system.text.stack.layers[1].cross[0].fn.project(text).keys
    torch.testing.assert_close(memory.layers[1].keys[:, :, patches:], keys, atol=1e-5, rtol=1e-4)
    assert (system.match(batch) - system.match(replace(batch, caption=None))).abs().max() > 1e-3


@torch.no_grad()
def test_padding_of_a_caption_says_nothing() -> None:
    system, caption = build(blip_visdial), texts(2, 5, 2)
    batch = Batch(images=pictures(2), texts=Texts.unpadded(texts(2, 7, 1)), caption=Texts.unpadded(caption))
    keep = F.pad(torch.ones_like(caption).bool(), (0, 3))
    padded = replace(batch, caption=Texts(F.pad(caption, (0, 3), value=9), keep))
    torch.testing.assert_close(system.match(batch), system.match(padded), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_hundred_candidates_read_one_memory() -> None:
    system = build(blip_visdial)
    batch = Batch(
        images=pictures(1), texts=Texts.unpadded(texts(100, 7, 1)), image_of=torch.zeros(100).long()
    )
    looked = []
    system.image.register_forward_hook(lambda *_: looked.append(1))
    together = system.match(batch)
    assert len(looked) == 1
    apart = [
        system.match(Batch(images=pictures(1), texts=Texts.unpadded(batch.texts.ids[row : row + 1])))
        for row in (0, 50, 99)
    ]
    torch.testing.assert_close(together[[0, 50, 99]], torch.cat(apart), atol=1e-5, rtol=1e-4)
