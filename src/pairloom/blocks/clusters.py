"""Hierarchical k-means: a vector becomes a number by going down a tree of centres (Sun et al., 2019, VideoBERT: 4 levels of 12).

Does not know: what the vectors are of.

n vectors, F numbers of a vector, K branches of a node.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

STEPS = 20  # of Lloyd's algorithm at a node, at most


class ClusterTree(nn.Module):
    """branches ** levels clusters. Level l has K ** l nodes, each with the centres of its K branches [K ** l K F]."""

    def __init__(self, features: int, branches: int = 12, levels: int = 4) -> None:
        super().__init__()
        self.branches, self.levels = branches, levels
        for level in range(levels):
            self.register_buffer(f"level_{level}", torch.zeros(branches**level, branches, features))

    def forward(self, vectors: Float[Tensor, "*B F"]) -> Int[Tensor, "*B"]:
        """The cluster of each vector: at every level the branch whose centre is nearest; of equal ones the first."""
        flat = vectors.flatten(0, -2).float()
        node = torch.zeros(len(flat), dtype=torch.long, device=flat.device)
        for level in range(self.levels):
            centres = self.centres(level)[node]
            apart = (flat[:, None] - centres).square().sum(2)
            node = node * self.branches + apart.argmin(1)
        return node.view(vectors.shape[:-1])

    def centres(self, level: int) -> Float[Tensor, "_ K F"]:
        """Centres of the branches of each node of a level."""
        return self.get_buffer(f"level_{level}")

    @torch.no_grad()
    def fit(self, vectors: Float[Tensor, "n F"], seed: int = 0) -> None:
        """Learn the tree, each node from the vectors that reach it. A node of fewer distinct vectors than branches repeats its last
        centre, so that some clusters stay empty. ValueError where there is no vector."""
        if not len(vectors):
            raise ValueError("there is nothing to cluster")
        generator = torch.Generator().manual_seed(seed)
        vectors = vectors.float().cpu()
        node = torch.zeros(len(vectors), dtype=torch.long)
        for level in range(self.levels):
            centres = torch.zeros(self.centres(level).shape)
            chosen = torch.zeros_like(node)
            for place in node.unique().tolist():
                inside = (node == place).nonzero()[:, 0]
                centres[place], chosen[inside] = k_means(vectors[inside], self.branches, generator)
            self.centres(level).copy_(centres)
            node = node * self.branches + chosen


def k_means(
    vectors: Float[Tensor, "n F"], count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "K F"], Int[Tensor, " n"]]:
    """Lloyd's k-means from k-means++ seeds: centres, and the centre of each vector."""
    centres = _seeds(vectors, count, generator)
    nearest = torch.cdist(vectors, centres).argmin(1)
    for _ in range(STEPS):
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        before, nearest = nearest, torch.cdist(vectors, centres).argmin(1)
        if torch.equal(before, nearest):
            break
    return centres, nearest


def _seeds(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii, 2007): each next seed is drawn by its squared distance to the nearest one so far."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    apart = (vectors - vectors[chosen[0]]).square().sum(1)
    while len(chosen) < count:
        if float(apart.max()) <= 0:
            chosen += [chosen[-1]] * (count - len(chosen))
            break
        chosen.append(int(torch.multinomial(apart.double(), 1, generator=generator)))
        apart = torch.minimum(apart, (vectors - vectors[chosen[-1]]).square().sum(1))
    return vectors[chosen]
