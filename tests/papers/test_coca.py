"""CoCa (Yu et al., 2022): the sentences of the paper that matter, one test each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pairloom.data.batch import Batch, Texts
from pairloom.systems.coca import PRESETS, TINY, Config, System
from pairloom.tasks.decode import Writing, decode


def made(**changes: Any) -> System:
    torch.manual_seed(0)
    system = System(replace(TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return system


def pairs() -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 60, (5, 9), generator=generator)
    keep = torch.arange(9) < torch.tensor([9, 5, 7, 4, 9])[:, None]
    tokens[:, 0] = TINY.cls
    tokens[torch.arange(5), keep.sum(1) - 1] = TINY.sep
    images = torch.randn(5, 1, 3, 32, 32, generator=generator)
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, TINY.pad), keep))


# table 1: millions of the image tower, of the text decoder (with its word table and head)
@pytest.mark.parametrize(("preset", "image", "text"), [("base", 86, 297), ("large", 303, 484)])
def test_sizes(preset: str, image: float, text: float) -> None:
    with torch.device("meta"):
        system = System(PRESETS[preset])

    def millions(*parts: torch.nn.Module) -> float:
        return sum(value.numel() for part in parts for value in part.parameters()) / 1e6

    assert millions(system.image) == pytest.approx(image, rel=0.01)
    assert millions(system.embed, system.unimodal, system.multimodal, system.head) == pytest.approx(
        text, rel=0.01
    )


def test_as_many_unimodal_as_multimodal_layers_and_256_rows_of_256_patches() -> None:
    for name in ("base", "large", "2.1B"):
        config = PRESETS[name]
        assert config.unimodal == config.multimodal and config.queries == 256
        assert (config.image_size // config.patch) ** 2 == 256
    assert (Config().lm, Config().itc, Config().scale) == (2.0, 1.0, pytest.approx(1 / 0.07))


@torch.no_grad()
def test_the_lower_half_does_not_see_the_picture_and_the_upper_does() -> None:
    system, batch = made(), pairs()
    other = replace(batch, images=batch.images.flip(0))
    torch.testing.assert_close(system._read(batch)[1], system._read(other)[1])
    assert (system.logits(batch) - system.logits(other)).abs().max() > 1e-2


@torch.no_grad()
def test_the_cls_stands_last_and_says_nothing_to_the_words() -> None:
    """ "we append a learnable [CLS] token to the input sentence": the words cannot see it, it sees all of them, no pad."""
    system, batch = made(), pairs()
    embedded, rows = system._read(batch)
    system.cls_row.mul_(-3.0)
    moved, same = system._read(batch)
    torch.testing.assert_close(rows, same)
    assert (embedded - moved).abs().max() > 1e-3
    mask = system._mask(batch.texts.mask)
    assert mask[1, 0, -1].tolist() == [True] * 5 + [False] * 4 + [True]
    assert not mask[:, 0, :-1, -1].any()


@torch.no_grad()
def test_both_losses_come_from_one_pass() -> None:
    """L = 1 contrast + 2 captioning: each is what it would be by itself, times its weight."""
    system, batch = made(), pairs()
    told = system.losses(batch)
    image, text = system.embed_image(batch), system.embed_text(batch)
    cosines = image @ text.T * torch.exp(system.scale)
    labels = torch.arange(5)
    expected = (F.cross_entropy(cosines, labels) + F.cross_entropy(cosines.T, labels)) / 2
    torch.testing.assert_close(told["itc"], expected)
    wanted = batch.texts.ids[:, 1:].masked_fill(~batch.texts.mask[:, 1:], -100)
    logits = system.logits(batch)[:, :-1].transpose(1, 2)
    torch.testing.assert_close(told["lm"], 2 * F.cross_entropy(logits, wanted))
    assert set(made(itc=0.0).losses(batch)) == {"lm"} and set(made(lm=0.0).losses(batch)) == {"itc"}


@torch.no_grad()
def test_a_cascade_reads_the_pooled_rows_and_parallel_poolers_the_picture() -> None:
    cascade, parallel, batch = made(), made(poolers="parallel", image_width=48, image_heads=3), pairs()
    assert cascade.contrast_pool.attend.key.in_features == TINY.width
    assert parallel.contrast_pool.attend.key.in_features == 48
    for system, depends in ((cascade, True), (parallel, False)):
        before = system.embed_image(batch)
        system.pool.queries.mul_(-2.0)
        assert torch.allclose(before, system.embed_image(batch), atol=1e-6) is not depends


@torch.no_grad()
@pytest.mark.parametrize("poolers", ["parallel", "open_clip"])
def test_steps_are_logits_in_every_variant(poolers: Any) -> None:
    system, batch = made(poolers=poolers), pairs()
    expected, state = system.logits(batch), system.start(batch)
    for at in range(9):
        said, state = system.step(state, batch.texts.ids[:, at])
        real = batch.texts.mask[:, at]
        torch.testing.assert_close(said[real], expected[real, at], atol=1e-5, rtol=1e-4)


def test_it_writes_and_only_the_picture_decides_what() -> None:
    system, batch = made(), pairs()
    several = decode(system, Batch(images=batch.images), Writing("beam", 3, 10, 3))
    alone = decode(system, Batch(images=batch.images[3:4]), Writing("beam", 3, 10, 3))
    assert several[3][0].tokens == alone[0][0].tokens
    assert len({round(found[0].log_probability, 4) for found in several}) == 5
