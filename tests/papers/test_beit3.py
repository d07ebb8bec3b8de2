"""What BEiT-3 says of itself, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pairloom.blocks.tensors import put_shared, tensors_of
from pairloom.data.batch import Batch
from pairloom.objectives.masked import masking_generator
from pairloom.objectives.patches import mask_blocks
from pairloom.systems import beit3, beit3_nlvr, beit3_vqa


def built(**changes) -> beit3.System:
    torch.manual_seed(0)
    system = beit3.System(replace(beit3.TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


@pytest.fixture(scope="module")
def system() -> beit3.System:
    return built()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return beit3.example(beit3.TINY, torch.Generator().manual_seed(3))


def count(*parts: torch.nn.Module) -> int:
    return round(sum(p.numel() for part in parts for p in part.parameters()) / 1e6)


def test_the_giants_experts_have_the_published_sizes() -> None:
    """Vision 692 M, language 692 M, pairs 52 M, attention 317 M: feed-forward parts of 40, 40 and 3 layers, and one attention."""
    with torch.device("meta"):
        system = beit3.System(beit3.PRESETS["giant"])
    layers = system.vision.layers, system.language.layers, system.joint.layers
    feeds = [count(*(layer.feed for layer in stack)) for stack in layers]
    unused = count(*(layer.feed for layer in layers[0][-3:]))
    assert (
        feeds[0] == feeds[1] and abs(feeds[0] - 692) < 25 and abs(feeds[2] - 52) <= 1 and unused == feeds[2]
    )
    assert abs(count(*(layer.attend for layer in layers[0])) - 317) <= 1
    assert all(one.attend is other.attend for one, other in zip(*layers[:2]))
    assert not any(layer.attend for layer in layers[2])


def test_the_released_sizes_share_nothing() -> None:
    """The weights of contrastive tuning have 222 and 674 million parameters, and no head of words or codes."""
    for name, published in (("base", 222), ("large", 674)):
        with torch.device("meta"):
            system = beit3.System(beit3.PRESETS[name])
        layers = system.vision.layers, system.language.layers
        assert all(one.attend is not other.attend for one, other in zip(*layers)) and not len(
            system.joint.layers
        )
        assert abs(count(system) - count(system.codes, system.words) - published) <= 1


@torch.no_grad()
def test_norms_stand_before_the_output_maps() -> None:
    """Sub-LN: the map of attention reads a normed row, and that of the feed-forward part."""
    torch.manual_seed(0)
    fresh = beit3.System(beit3.TINY)
    for at, layer in enumerate(fresh.language.layers, 1):
        for end in (layer.attend[0].fn.out, layer.feed[0].fn.down):
            assert isinstance(end[0], torch.nn.LayerNorm)
            # weights of a normal cut at two deviations have .88 of its deviation
            assert end[1].weight.std() == pytest.approx(0.88 * 0.02 / (2 * at) ** 0.5, rel=0.1)


@torch.no_grad()
def test_each_row_goes_through_its_modalitys_expert_and_pairs_through_theirs(system, batch) -> None:
    """In the lower layer the vision expert sees patches alone, in the upper one the expert of pairs sees both."""
    seen: dict[str, list[int]] = {}
    hooks = [
        stack.layers[at].feed[0].register_forward_hook(
            lambda _, inputs, __, name=f"{name} {at}": seen.setdefault(name, []).append(inputs[0].shape[1])
        )
        for name, stack, at in (
            ("vision", system.vision, 0), ("vision", system.vision, 1), ("language", system.language, 0),
            ("language", system.language, 1), ("joint", system.joint, 0),
        )
    ]  # fmt: skip
    tokens, mask = batch.text()
    system._fuse(system.patches(batch.images[:, 0]), system.text(tokens), mask)
    system.embed_text(batch)
    for hook in hooks:
        hook.remove()
    assert seen == {"vision 0": [17], "language 0": [8, 8], "joint 0": [17, 8], "language 1": [8]}


@torch.no_grad()
def test_a_text_alone_is_its_half_of_a_pair_without_patches() -> None:
    """Without an expert of pairs, and no patch to see, both ways to read a text are one."""
    system, batch = built(joint=0), beit3.example(beit3.TINY, torch.Generator().manual_seed(3))
    tokens, mask = batch.text()
    _, words = system._fuse(torch.zeros(6, 0, 32), system.text(tokens), mask)
    row = F.normalize(system.text_projection(system.language_norm(words)[:, 0]), dim=-1)
    torch.testing.assert_close(row, system.embed_text(batch), atol=1e-5, rtol=1e-4)


def test_forty_percent_of_the_patches_are_hidden_in_blocks() -> None:
    mask = mask_blocks(50, 14, 0.4, masking_generator(False)).view(50, 14, 14)
    assert (mask.sum((1, 2)) == round(0.4 * 196)).all() and len(set(map(str, mask.tolist()))) == 50
    beside = (mask[:, :, 1:] & mask[:, :, :-1]).sum() / mask[:, :, :-1].sum()
    assert beside > 0.75, "by chance it would be .4: they are hidden in blocks"
    assert (mask.float().mean(0) > 0).all(), "everywhere"


def test_a_hidden_patch_says_nothing(batch) -> None:
    """Its pixels have no influence on any loss of hidden patches and words: it is replaced before its place is added."""
    system = built(itc=0.0, caption=0.0, patches_masked=1.0)
    other = replace(batch, images=torch.randn_like(batch.images))
    for name, value in system.losses(batch).items():
        torch.testing.assert_close(value, system.losses(other)[name])


def test_one_objective_on_pictures_texts_and_pairs(batch) -> None:
    system = built(itc=0.0, caption=0.0)
    assert set(system.losses(batch)) == {"text", "pair", "image"} and system.abilities == ()
    assert set(system.losses(replace(batch, codes=None))) == {"text", "pair"}


def test_more_words_of_a_pair_are_hidden_than_of_a_text_alone(batch) -> None:
    system, read = built(itc=0.0, caption=0.0), []
    hook = system.text.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    shares = torch.zeros(2)
    system.train()
    for seed in range(60):
        torch.manual_seed(seed)
        read.clear()
        system.losses(batch)
        shares += torch.stack([(ids == beit3.TINY.mask).sum() for ids in read]) / (60 * 30)
    hook.remove()
    # of 30 words (ends among them) 80 % of the hidden become [MASK]; texts with no draw hide one
    assert 0.1 < shares[0] < 0.25 and abs(shares[1] - 0.4) < 0.05


@torch.no_grad()
def test_a_caption_sees_the_picture_and_its_past_and_the_picture_never_sees_it(system, batch) -> None:
    """The picture's rows are those of the vision expert alone, whatever the text is."""
    encoded = system.encode_image(batch)
    other = replace(encoded, texts=replace(batch.texts, ids=batch.texts.ids.flip(0)))
    assert other.encoded is encoded.encoded
    torch.testing.assert_close(system.logits(encoded), system.logits(batch))
    assert [one.name for one in system.abilities] == ["embed", "caption"]


def noisy(system):
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system.eval()


@torch.no_grad()
def test_an_answer_is_a_class_of_the_pictures_first_row_without_the_last_norm() -> None:
    torch.manual_seed(0)
    system = noisy(beit3_vqa.System(beit3_vqa.TINY))
    batch = beit3_vqa.example(beit3_vqa.TINY, torch.Generator().manual_seed(3))
    rows, _ = system._fuse(system.patches(batch.images[:, 0]), system.text(batch.texts.ids), batch.texts.mask)
    norm, dense, _ = system.pooler
    first = torch.tanh(dense(F.layer_norm(rows[:, 0], (32,), norm.weight, norm.bias, 1e-5)))
    torch.testing.assert_close(system.answer_logits(batch), system.head(first))
    assert not hasattr(system, "vision_norm") and beit3_vqa.Config().answers == 3129


@torch.no_grad()
def test_a_statement_is_judged_from_both_first_rows_of_both_pictures() -> None:
    """Four rows side by side: picture and text, of the first picture and of the second."""
    torch.manual_seed(0)
    system = noisy(beit3_nlvr.System(beit3_nlvr.TINY))
    batch = beit3_nlvr.example(beit3_nlvr.TINY, torch.Generator().manual_seed(3))
    read = []
    hook = system.head.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    straight = system.match(batch)
    turned = system.match(replace(batch, images=batch.images.flip(1)))
    hook.remove()
    assert read[0].shape == (6, 4 * 32)
    torch.testing.assert_close(read[0], read[1].roll(64, 1))
    assert (straight - turned).abs().max() > 1e-3
    with pytest.raises(ValueError, match="needs 2 pictures"):
        system.match(replace(batch, images=batch.images[:, :1]))


def test_fine_tuned_models_begin_with_the_pretrained_encoder() -> None:
    before = beit3.System(beit3.TINY)
    for module in (beit3_vqa, beit3_nlvr):
        system = module.System(module.TINY)
        config = replace(module.TINY, joint=beit3.TINY.joint)
        system = module.System(config)
        stays = put_shared(system, module.STARTS["beit3"](tensors_of(before), config))
        assert all(name.startswith(("head.", "pooler.")) for name in stays) and stays
