"""Hierarchical k-means: trees of known groups, and the same tree for the same seed."""

from __future__ import annotations

import pytest
import torch

from pairloom.blocks.clusters import ClusterTree, k_means


def groups() -> tuple[torch.Tensor, torch.Tensor]:
    """Three far groups, each of three near ones, of eight vectors."""
    generator = torch.Generator().manual_seed(0)
    far = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    near = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    centres = (far[:, None] + near).flatten(0, 1)
    rows = centres.repeat_interleave(8, 0)
    return rows + 0.1 * torch.randn(rows.shape, generator=generator), torch.arange(9).repeat_interleave(8)


def test_groups_of_groups_become_branches_of_branches() -> None:
    vectors, group = groups()
    tree = ClusterTree(2, branches=3, levels=2)
    tree.fit(vectors, seed=1)
    codes = tree(vectors)
    for one in range(9):
        assert len(codes[group == one].unique()) == 1, "a group is one cluster"
    assert len(codes.unique()) == 9
    for far in range(3):  # a far group is one branch of the root
        assert len((codes[group // 3 == far] // 3).unique()) == 1
    torch.testing.assert_close(
        tree.centres(1).flatten(0, 1)[codes[::8]], vectors.unflatten(0, (9, 8)).mean(1), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(tree(vectors.view(9, 8, 2)), codes.view(9, 8))


def test_the_same_seed_gives_the_same_tree_and_it_is_saved() -> None:
    vectors, _ = groups()
    one, two = ClusterTree(2, 3, 2), ClusterTree(2, 3, 2)
    one.fit(vectors, seed=1)
    two.fit(vectors, seed=1)
    assert all(torch.equal(one.centres(level), two.centres(level)) for level in range(2))
    two = ClusterTree(2, 3, 2)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(vectors), two(vectors))
    assert [tuple(ClusterTree(5).centres(level).shape) for level in range(4)] == [
        (1, 12, 5), (12, 12, 5), (144, 12, 5), (1728, 12, 5),
    ]  # fmt: skip


def test_fewer_vectors_than_branches() -> None:
    centres, nearest = k_means(torch.tensor([[1.0], [1.0], [3.0]]), 4, torch.Generator().manual_seed(0))
    assert sorted(set(centres[:, 0].tolist())) == [1.0, 3.0] and nearest[0] == nearest[1] != nearest[2]
    tree = ClusterTree(1, 4, 2)
    tree.fit(torch.tensor([[1.0], [3.0]]))
    assert len(tree(torch.tensor([[1.1], [0.9], [2.9]])).unique()) == 2
    with pytest.raises(ValueError, match="nothing to cluster"):
        tree.fit(torch.zeros(0, 1))
