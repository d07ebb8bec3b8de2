"""Effect sizes of pairs of groups, for the benchmarks of bias: sound ones with interval and p, and the published ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pairloom.bench._case import Case
from pairloom.bench._measure import Floats, Measure
from pairloom.metrics.bias import association, effect_interval, effect_size, permutation_test
from pairloom.metrics.compare import Interval, holm

Pair = tuple[
    str, str, tuple[str, ...]
]  # first group, second, groups that the released code takes the deviation over


def effects(cases: Sequence[Case], grids: Sequence[Floats], pairs: Sequence[Pair]) -> list[Measure]:
    """Effect sizes of each pair of groups (tags of cases) with at least two pictures each. The first half of a case's texts is
    the pleasant one.

    Above 0 the first group is closer to the pleasant texts. p: by permutation, with Holm's correction over all pairs.
    """
    effects_by_pair: dict[str, list[float]] = {}
    for case, grid in zip(cases, grids):
        effects_by_pair.setdefault(case.tag, []).append(float(association(grid, len(case.texts) // 2)[0]))
    pairs = [pair for pair in pairs if all(len(effects_by_pair.get(group, ())) > 1 for group in pair[:2])]
    tests = [permutation_test(effects_by_pair[one], effects_by_pair[two]) for one, two, _ in pairs]
    sound, published = [], []
    for (one, two, over), test, p in zip(pairs, tests, holm([test.p for test in tests])):
        name, count = f"effect size {one} - {two}", len(effects_by_pair[one]) + len(effects_by_pair[two])
        note = f"p by {'every' if test.exact else '10,000 random'} split, over {len(pairs)} pairs (Holm)"
        spread = effect_interval(effects_by_pair[one], effects_by_pair[two])
        halves = tuple(effects_by_pair[one]), tuple(effects_by_pair[two])
        sound.append(Measure(name, "sound", spread, count, 0.0, best=0.0, p=p, note=note, halves=halves))
        if all(group in effects_by_pair for group in over):
            value = effect_size(
                effects_by_pair[one],
                effects_by_pair[two],
                np.concatenate([effects_by_pair[group] for group in over]),
            )
            note = f"deviation over {' and '.join(over)}, as in the released code" * (set(over) != {one, two})
            alone = Interval(value, float("nan"), float("nan"))
            published.append(Measure(name, "published", alone, count, 0.0, best=0.0, note=note))
    return sound + published
