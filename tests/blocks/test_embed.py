"""Embedders: positions, sizes, the convolution stem."""

import pytest
import torch

from pairloom.blocks.embed import PatchEmbed, TextEmbed, conv_stem, resize_positions


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
    bigger = resize_positions(table, 25)
    assert bigger.shape == (1, 26, 2)
    torch.testing.assert_close(bigger[:, 0], table[:, 0])
    torch.testing.assert_close(bigger[:, 1:], torch.full((1, 25, 2), 3.0))
    with pytest.raises(ValueError, match="no square"):
        resize_positions(table, 24)


def test_resized_positions_keep_their_orientation():
    """A table that grows downwards still does after resizing, and does not vary sideways."""
    grid = torch.arange(4.0).repeat_interleave(4).view(1, 16, 1)
    bigger = resize_positions(torch.cat([torch.zeros(1, 1, 1), grid], 1), 64)[0, 1:, 0].view(8, 8)
    assert (bigger.diff(dim=0) > 0).all()
    torch.testing.assert_close(bigger, bigger[:, :1].expand(8, 8))


def test_the_convolution_stem_has_the_grid_of_the_patches():
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for patch in (4, 8, 16):
        assert conv_stem(patch, 24)(images).shape == (2, 24, 32 // patch, 32 // patch)
