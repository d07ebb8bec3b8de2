"""BLIP-2's statements about its first stage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairloom.blocks.tensors import tensors_of
from pairloom.systems.blip2 import PRESETS, TINY, System, example

BATCH = example(TINY, torch.Generator().manual_seed(0))


def test_the_image_encoder_is_frozen() -> None:
    system = System(replace(TINY, frozen=True))
    torch.stack(list(system.losses(BATCH).values())).sum().backward()
    learned = {name.split(".")[0] for name, one in system.named_parameters() if one.grad is not None}
    assert "image" not in learned and {"queries", "qformer", "embed", "match_head"} <= learned


def test_every_other_block_reads_the_picture() -> None:
    """Section 3.1: 188 M parameters with the queries, whose 32 x 768 numbers are fewer than a picture's 257 x 1024."""
    with torch.device("meta"):
        system = System(PRESETS["ViT-L"])
    assert [len(layer.cross) for layer in system.qformer.layers] == [1, 0] * 6
    inside = sum(one.numel() for name, one in system.named_parameters() if not name.startswith("image."))
    assert 180e6 < inside < 190e6
    assert system.queries.shape == (1, 32, 768)


@torch.no_grad()
def test_the_nearest_query_speaks_for_the_picture() -> None:
    """The score is the largest of the cosines with the queries' embeddings, which have not seen the text."""
    torch.manual_seed(0)
    system = System(TINY).eval()
    encoded = system.encode_image(BATCH)
    text = system._embed_text(*BATCH.text())
    cosines = torch.einsum("bqe,be->bq", encoded.encoded.parts, text)
    torch.testing.assert_close(system.similarity(encoded), cosines.max(1).values)
    assert cosines.shape[1] == TINY.queries and float(cosines.std(1).min()) > 0


def test_some_query_reads_in_some_layer() -> None:
    for change in ({"queries": 0}, {"every": 0}):
        with pytest.raises(ValueError, match="no query"):
            System(replace(TINY, **change))


def test_a_loss_without_weight_is_not_asked_for() -> None:
    for weight, left in (("itc", {"match"}), ("itm", {"similarity"})):
        system = System(replace(TINY, **{weight: 0.0}))
        assert {one.name for one in system.abilities} == left
        assert set(system.losses(BATCH)) == {"itc", "itm"} - {weight}
    assert "batches" not in tensors_of(system, ("batches",))
