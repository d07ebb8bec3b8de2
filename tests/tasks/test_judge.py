"""Judge: groups of texts and pictures are a matter of time and memory, never of scores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.data.batch import Batch, Texts
from pairloom.systems.blip import TINY, System
from pairloom.tasks.judge import judge
from pairloom.verbs import ways

PICTURES = 5


@pytest.fixture(scope="module")
def system() -> System:
    torch.manual_seed(0)
    made = System(TINY).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def asked(texts: list[tuple[int, int]]) -> Batch:
    """texts: (tokens, picture)."""
    generator = torch.Generator().manual_seed(1)
    lengths, owner = (torch.tensor(column) for column in zip(*texts))
    tokens = torch.randint(5, 60, (len(texts), 9), generator=generator)
    images = torch.randn(PICTURES, 1, 3, 32, 32, generator=generator)
    keep = torch.arange(9) < lengths[:, None]
    return Batch(images=images, texts=Texts(tokens.masked_fill(~keep, TINY.pad), keep), image_of=owner)


@settings(max_examples=12, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(2, 9), st.integers(0, PICTURES - 1)), min_size=1, max_size=9),
    rows=st.integers(1, 5),
    pictures=st.integers(1, 6),
)
def test_groups_change_no_score(system, texts, rows, pictures):
    batch = asked(texts)
    for way in ways(system):
        alone = []
        for row, (length, owner) in enumerate(
            texts
        ):  # one text and one picture at a time, nothing packed or shared
            one = Batch(
                images=batch.images[owner : owner + 1],
                texts=Texts(
                    batch.texts.ids[row : row + 1, :length], batch.texts.mask[row : row + 1, :length]
                ),
            )
            alone.append(judge(system, one, way)[0])
        said, told = judge(system, batch, way, rows, pictures)
        assert told == way
        torch.testing.assert_close(said, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_each_picture_is_looked_at_and_projected_once(system):
    """However its texts are grouped, and never more than `pictures` at a time."""
    looked, projected = [], []
    hooks = [
        system.towers.image.register_forward_hook(lambda _, given, __: looked.append(len(given[0]))),
        system.towers.text.stack.layers[0]
        .cross[0]
        .fn.key.register_forward_hook(lambda _, given, __: projected.append(len(given[0]))),
    ]
    judge(system, asked([(5, row % PICTURES) for row in range(15)]), "match", rows=4, pictures=2)
    for hook in hooks:
        hook.remove()
    assert looked == projected == [2, 2, 1]


def test_pictures_that_nobody_reads_take_no_part(system):
    """Memories before the first and after the last that is read are left out, as a view."""
    seen = system.encode_image(asked([(5, 0)])).encoded
    memory = system._memory(seen, 0)
    near = memory.narrowed_to(torch.tensor([3, 2, 3]))
    assert len(near) == 2 and near.readers.owner.tolist() == [1, 0, 1]
    assert near.layers[0].keys.data_ptr() == memory.layers[0].keys[2].data_ptr()
    assert len(memory.narrowed_to(torch.tensor([0, 4]))) == PICTURES
