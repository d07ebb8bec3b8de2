"""Texts alone: which texts of a set are cut off, and which are in another language; no judge and no picture is read.

    python experiments/benchmarks/bench_texts.py drawn                              # the drawn world's own noise, three seeds
    python experiments/benchmarks/bench_texts.py ../shared/data/coco-sample         # a real set as it is
    python experiments/benchmarks/bench_texts.py ../shared/data/coco-sample --cut 0.03 --how word
    python experiments/benchmarks/bench_texts.py ../shared/data/fsa --foreign 100

`--cut` cuts a share of the texts: at a random letter (letter), after a random word (word), or after 40 letters (40). `--foreign` adds so
many German, French and Spanish texts of the drawn world. Printed: AUROC of right over cut texts, the cut and the right texts
below the limit of the whole budget and of a fifth of it, and the texts that count as of another language, certainly and perhaps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from pairloom.clean.faults import FAULTS
from pairloom.clean.set_languages import SetLanguages
from pairloom.clean.shared_budget import KnownErrors
from pairloom.clean.text_faults import text_faults
from pairloom.data.pair import seed_of
from pairloom.data.shards import open_set
from pairloom.metrics.calibrate import auroc_interval
from pairloom.regression.endings import Endings, cut_text
from pairloom.world import World

FOLDS, BUDGET = 5, 0.05


def drawn(seed: int, count: int = 4000) -> tuple[list[str], np.ndarray, list[str]]:
    """The demo's texts that no rule drops by themselves, the picture of each, and their noise."""
    world = World(count, seed, "simple", styles=("terse", "full"), noise=0.3)
    rows = [row for row in world.rows() if not _bad(row.text)]
    return [row.text for row in rows], np.arange(len(rows)), [row.truth.noise for row in rows]


def real(path: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """The same of a real set, all of whose texts count as right."""
    pairs = [(row, text.text) for row, pair in enumerate(open_set(path).pairs()) for text in pair.texts]
    known = [(row, text) for row, text in pairs if not _bad(text)]
    return [text for _, text in known], np.array([row for row, _ in known]), [""] * len(known)


def _bad(text: str) -> bool:
    return any(FAULTS[code].severity == "bad" for code in text_faults(text))


def spoil(texts: list[str], noise: list[str], share: float, how: str, seed: int) -> None:
    """Cut a share of the texts, in place."""
    random = np.random.default_rng(seed)
    for row in np.flatnonzero(random.random(len(texts)) < share).tolist():
        text, words = texts[row], texts[row].split()
        cuts = {
            "letter": text[: int(random.integers(1, max(2, len(text))))].rstrip(),
            "word": " ".join(words[: int(random.integers(1, max(2, len(words))))]),
            "40": text[:40].rstrip(),
        }
        if cuts[how] != text.rstrip():
            texts[row], noise[row] = cuts[how], "truncation"


def measure_endings(texts: list[str], owner: np.ndarray, noise: np.ndarray) -> None:
    """Print how well right texts are told from cut ones, and what is dropped."""
    start, folds = time.process_time(), owner % FOLDS
    endings = Endings.learn(texts, folds, [seed_of("learn", row, text) for row, text in enumerate(texts)])
    if endings is None:
        print("  endings: too few texts")
        return
    own = endings.scores(texts, folds)
    cuts = [cut_text(text, seed_of("plant", row, text)) for row, text in enumerate(texts)]
    has = np.array([cut is not None for cut in cuts])
    planted = endings.scores([cut for cut in cuts if cut is not None], folds[has])
    seconds = time.process_time() - start
    right, cut = own[noise != "truncation"], own[noise == "truncation"]
    area = f"{auroc_interval(right, cut)}" if len(cut) else "-"
    print(f"  endings: {len(cut)} of {len(own)} cut, AUROC {area}, {seconds:.1f} s")
    errors = KnownErrors(own, planted, owner, cautious=True)
    for budget in (BUDGET, BUDGET / 5):
        known = errors.calibrate(budget)
        if known.threshold is None:
            print(f"    budget {budget:.0%}: abstains. {known.why}")
            continue
        lost, caught = int((right < known.threshold).sum()), int((cut < known.threshold).sum())
        print(f"    budget {budget:.0%}: {caught} of {len(cut)} cut texts, {lost} of {len(right)} others")


def measure_languages(texts: list[str], noise: np.ndarray) -> None:
    """Print how many texts count as of another language."""
    start = time.process_time()
    languages = SetLanguages.learn(texts)
    certain, doubted = languages.other(texts)
    foreign = noise == "other_language"
    print(
        f"  languages: {', '.join(languages.names)}; certain {certain[foreign].sum()} of {foreign.sum()}, and {certain[~foreign].sum()} others; "
        f"perhaps {doubted[foreign].sum()} and {doubted[~foreign].sum()}; {time.process_time() - start:.1f} s"
    )
    for row in np.flatnonzero(certain & ~foreign)[:5].tolist():
        print(f"    {texts[row]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", help="a folder, or: drawn")
    parser.add_argument("--cut", type=float, default=0.0, help="share of the texts to cut")
    parser.add_argument(
        "--how", choices=("letter", "word", "40"), default="letter", help="where they are cut"
    )
    parser.add_argument("--foreign", type=int, default=0, help="texts in other languages to add")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for seed in range(options.seeds):
        texts, owner, noise = drawn(seed) if options.set == "drawn" else real(Path(options.set))
        spoil(texts, noise, options.cut, options.how, seed)
        if options.foreign:
            world = World(20 * options.foreign, seed, "simple", noise=0.2, shares={"other_language": 1.0})
            more = [row.text for row in world.rows() if row.truth.noise][: options.foreign]
            texts, noise = texts + more, noise + ["other_language"] * len(more)
            owner = np.r_[owner, owner.max() + 1 + np.arange(len(more))]
        kinds = np.array(noise)
        print(f"{options.set}, seed {seed}: {len(texts)} texts")
        if not options.foreign:
            measure_endings(texts, owner, kinds)
        measure_languages(texts, kinds)
        if options.set != "drawn" and not options.cut and not options.foreign:
            return  # nothing is drawn


if __name__ == "__main__":
    main()
