"""Embedders: positions, sizes, the convolution stem."""

import pytest
import torch

from pairloom.blocks.bag_of_words import BagOfWords
from pairloom.blocks.convnet import ResidualStem, conv_stem, recalibrate_batch_norm
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.patch_embed import PatchEmbed
from pairloom.blocks.positions import resize_positions, sinusoidal_positions_2d


def test_a_patch_row_depends_on_its_patch_alone():
    torch.manual_seed(0)
    embed, images = PatchEmbed(16, 8, 6), torch.zeros(1, 3, 16, 16)
    changed = images.clone()
    changed[..., :8, 8:] = 1.0  # second patch of the first row
    rows = (embed(changed) - embed(images)).abs().sum(-1)[0]
    assert (rows > 0).tolist() == [False, False, True, False, False]


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="not a multiple of patch"):
        PatchEmbed(30, 8, 6)
    with pytest.raises(ValueError, match="16 px"):
        PatchEmbed(16, 8, 6)(torch.zeros(1, 3, 24, 24))
    with pytest.raises(ValueError, match="longer than the 4 positions"):
        TextEmbed(9, 4, 6, 1e-12, 0.0)(torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="power of two"):
        conv_stem(12, 6)


def test_resized_positions_keep_the_class_row_and_a_flat_table():
    table = torch.cat([torch.full((1, 1, 2), 9.0), torch.full((1, 9, 2), 3.0)], 1)
    bigger = resize_positions(table, 26)
    assert bigger.shape == (1, 26, 2)
    torch.testing.assert_close(bigger[:, 0], table[:, 0])
    torch.testing.assert_close(bigger[:, 1:], torch.full((1, 25, 2), 3.0))
    with pytest.raises(ValueError, match="no square"):
        resize_positions(table, 25)


def test_a_grid_without_a_class_row():
    embed, images = PatchEmbed(16, 8, 6, class_row=False), torch.zeros(1, 3, 16, 16)
    assert embed(images).shape == (1, 4, 6) and embed.class_row is None
    table = torch.full((1, 4, 2), 3.0)
    torch.testing.assert_close(resize_positions(table, 9), torch.full((1, 9, 2), 3.0))


def test_resized_positions_keep_their_orientation():
    """A table that grows downwards still does after resizing, and does not vary sideways."""
    grid = torch.arange(4.0).repeat_interleave(4).view(1, 16, 1)
    bigger = resize_positions(torch.cat([torch.zeros(1, 1, 1), grid], 1), 65)[0, 1:, 0].view(8, 8)
    assert (bigger.diff(dim=0) > 0).all()
    torch.testing.assert_close(bigger, bigger[:, :1].expand(8, 8))


def test_the_convolution_stem_has_the_grid_of_the_patches():
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for patch in (4, 8, 16):
        assert conv_stem(patch, 24)(images).shape == (2, 24, 32 // patch, 32 // patch)


def test_a_residual_stem_halves_the_picture_and_begins_the_class_row_with_the_mean_of_the_patches() -> None:
    torch.manual_seed(0)
    embed, images = PatchEmbed(32, 8, 24, "residual").eval(), torch.randn(2, 3, 32, 32)
    rows = embed(images) - embed.positions
    assert rows.shape == (2, 1 + 16, 24)
    assert torch.allclose(rows[:, 0] - embed.class_row[:, 0], rows[:, 1:].mean(1), atol=1e-6)
    with pytest.raises(ValueError, match="power of two"):
        ResidualStem(12, 24)


def test_settled_norms_have_the_statistics_of_what_passed() -> None:
    torch.manual_seed(0)
    stem, images = ResidualStem(4, 16).eval(), 3 + 2 * torch.randn(6, 3, 16, 16)
    recalibrate_batch_norm(stem, (stem(part) for part in images.split(2)))
    entered = stem.enter[0](images.contiguous(memory_format=torch.channels_last))
    norm = stem.enter[1]
    assert torch.allclose(norm.running_mean, entered.mean((0, 2, 3)), atol=1e-5)
    assert norm.momentum == 0.1 and not any(part.training for part in stem.modules())


def test_a_bag_reads_words_in_any_order_and_no_padding() -> None:
    torch.manual_seed(0)
    bag, words = BagOfWords(8, 1e-12), torch.randn(9, 8)
    tokens = torch.tensor([[2, 4, 5, 3, 0], [2, 5, 3, 4, 7]])
    keep = torch.tensor([[True] * 4 + [False]] * 2)
    said = bag(words, tokens, keep)
    assert torch.allclose(said[0], said[1])
    assert not torch.allclose(said[0], bag(words, torch.tensor([[2, 4, 6, 3, 0]]), keep[:1])[0])


def test_sines_tell_rows_and_columns_apart():
    grid = sinusoidal_positions_2d(4, 16).unflatten(0, (4, 4))
    assert torch.equal(grid[2, :, :8], grid[2, :1, :8].expand(4, 8))  # the row's half does not see the column
    assert torch.equal(grid[:, 3, 8:], grid[:1, 3, 8:].expand(4, 8))
    assert grid[1, 2, 0] == torch.tensor(1.0).sin() and grid[1, 2, 8] == torch.tensor(2.0).sin()
    assert len(torch.unique(grid.flatten(0, 1), dim=0)) == 16
    with pytest.raises(ValueError, match="four"):
        sinusoidal_positions_2d(4, 6)
