"""Wrong words: one word of a caption is exchanged for another of its kind; does the judge see it, and name the word?

    python experiments/benchmarks/bench_words.py ../shared/data/coco-sample --image-tower efficientnet-lite0 \\
        --text-tower all-minilm-l6-v2
    python experiments/benchmarks/bench_words.py drawn      # the drawn world's own wrong captions, by kind

The judge `self` is trained on the set as it is. For each seed and kind, every caption with a word of the kind gets one of them
exchanged for another word of the kind that no caption of the picture has, drawn by frequency. Printed: AUROC of whole captions (by
their worst word), AUROC by the worst of the words of this kind alone, the share of the edited captions below 95 % of the right
ones, and among these the share in which the exchanged word is the worst; each with its 95 % interval over the seeds' edits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_selfjudge import Prepared, prepare

from pairloom.clean import ridge_training
from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.judges import load_judge
from pairloom.clean.plan import CleanSettings
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.clean.rows import LEARN, write_donors
from pairloom.clean.word_scores import text_score
from pairloom.metrics.calibrate import auroc_interval, found_at
from pairloom.metrics.compare import wilson
from pairloom.regression.words import word_spans
from pairloom.scale import Execution
from pairloom.world import World, negative

COLOURS = tuple("white black red blue green brown yellow orange gray pink grey silver purple".split())
NUMBERS = tuple("two three four five several many one".split())
NOUNS = tuple(
    """man people woman field street table person group cat bathroom room girl grass water tennis dog plate baseball ball sign
    kitchen toilet building clock boy snow beach pizza giraffe couple bed food elephant sink train trees horse picture child
    computer city bench background skateboard boat frisbee tree road horses kite laptop wall soccer window bird bat bear phone
    bananas motorcycle elephants car court skis airplane tower desk mirror fire sky cows cake zebra sidewalk zebras shower bus park
    traffic giraffes chair bowl birds ocean umbrella sheep hydrant bike floor baby sandwich broccoli children head women dogs boats
    counter shirt truck donuts pole camera house cars surfboard refrigerator plane television vegetables lady motorcycles luggage
    cow fence slope racket hand signs couch door suitcase hat hill vase glasses restaurant pan tub tie banana mountain bicycle meter
    buildings case coffee lights river cup basket airport branch stove oven keyboard flowers oranges tray shelf monitor wine
    players chairs jacket suit cabinets windows computers donut animals fruit shoes wave plates chocolate kites book bread apple
    dress bears pizzas toothbrush doughnuts cheese""".split()
)
KINDS = {"noun": NOUNS, "colour": COLOURS, "number": NUMBERS}
WRONG = ("replace_attribute", "swap_attribute", "replace_object", "swap_relation", "replace_count", "replace_subject", "swap_order")  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """A wrong caption of a row: the right one, the wrong one, and the word that was put in ("" where it is not one word)."""

    row: int
    right: str
    wrong: str
    word: str = ""


def exchanged(texts: Sequence[Sequence[str]], words: Sequence[str], seed: int) -> Iterator[Edit]:
    """Captions with one word of a kind exchanged for another."""
    random, kind = np.random.default_rng(seed), set(words)
    counts = {word: 0 for word in words}
    for group in texts:
        for text in group:
            for word, *_ in word_spans(text):
                if word in kind:
                    counts[word] += 1
    known = [word for word in words if counts[word]]
    chance = np.array([counts[word] for word in known], np.float64)
    for row, group in enumerate(texts):
        avoid = {word for text in group for word, *_ in word_spans(text)}
        for text in group:
            spans = [span for span in word_spans(text) if span[0] in kind]
            if not spans:
                continue
            word, start, stop = spans[random.integers(len(spans))]
            allowed = chance * [
                other not in avoid and other.rstrip("s") != word.rstrip("s") for other in known
            ]
            new = known[random.choice(len(known), p=allowed / allowed.sum())]
            yield Edit(row, text, text[:start] + new + text[stop:], new)


def drawn_wrong(names: Sequence[str], world: World, kind: str) -> Iterator[Edit]:
    """Captions of the drawn world that its own rules make wrong."""
    for row, name in enumerate(names):
        drawn = world.row(int(Path(name).stem))
        for style in world.styles:
            bent = negative(drawn.scene, kind, style, 0)
            if bent is not None and bent.caption == drawn.text:
                yield Edit(row, bent.caption, bent.negative)
                break


def measure(judge: RidgeJudge, prepared: Prepared, edits: Sequence[Edit], kind: Sequence[str]) -> dict[str, object]:  # fmt: skip
    """How well edited captions are told from right ones, and how often the exchanged word is the worst."""
    data, both = prepared.data, [(edit.row, text) for edit in edits for text in (edit.right, edit.wrong)]
    judged: list[list[tuple[str, float]]] = [[] for _ in both]
    for shard, first, last in zip(prepared.pairs.shards, data.first, data.first[1:]):
        at = [place for place, (row, _) in enumerate(both) if first <= row < last]
        source = AuditedShard(data.work, shard)
        results = judge.wrong_words(
            source, [both[place][0] - int(first) for place in at], [both[place][1] for place in at]
        )
        for place, words in zip(at, results):
            judged[place] = words
    right, wrong = judged[::2], judged[1::2]
    good, bad = (
        np.array([text_score([odds for _, odds in words]) for words in each]) for each in (right, wrong)
    )
    area, recall = auroc_interval(good, bad), found_at(good, bad, 0.05)
    limit = np.quantile(good, 0.05)
    line: dict[str, object] = {
        "edits": len(edits), "auroc": [round(number, 3) for number in (area.value, area.low, area.high)],
        "found": [round(number, 3) for number in (recall.value, recall.low, recall.high)],
    }  # fmt: skip
    if kind:
        near = [
            np.array([text_score([odds for word, odds in words if word in kind]) for words in each])
            for each in (right, wrong)
        ]
        area = auroc_interval(near[0], near[1])
        named = [
            words[0][0] == edit.word
            for edit, words, score in zip(edits, wrong, bad)
            if words and score < limit
        ]
        share = wilson(sum(named), max(1, len(named)))
        line["auroc of its kind"] = [round(number, 3) for number in (area.value, area.low, area.high)]
        line["named"] = [round(number, 3) for number in (share.value, share.low, share.high)]
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set")
    parser.add_argument("--image-tower")
    parser.add_argument("--text-tower")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    args.size, args.judge, args.wrong = 64, "ridge", None
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepared = prepare(args, 0, 0.0, work)
        settings = CleanSettings(image_tower=args.image_tower or "none", text_tower=args.text_tower or "none")
        write_donors(prepared.data)
        used = time.process_time()
        place = ridge_training.train_judge(
            work, prepared.pairs, prepared.data, prepared.data.folder, settings, Execution(workers=args.workers), lambda *_, **__: None
        )  # fmt: skip
        judge = load_judge(place)
        assert isinstance(judge, RidgeJudge)
        print(
            f"judge: {time.process_time() - used:.0f} s of processors; words that pictures tell: {int(judge.words.visible.sum()) if judge.words else 0}"
        )
        texts = list(prepared.data.column(LEARN))
        if args.set == "drawn":
            names = list(prepared.data.column("name"))
            world = World(4000, seed=0, level="simple", size=64, styles=("terse", "full"))
            groups = {kind: list(drawn_wrong(names, world, kind)) for kind in WRONG}
            groups["all"] = [edit for edits in groups.values() for edit in edits]
            for kind, edits in groups.items():
                if edits:
                    print(kind, json.dumps(measure(judge, prepared, edits, ())), flush=True)
            return
        for kind, words in KINDS.items():
            for seed in range(args.seeds):
                edits = list(exchanged(texts, words, seed))
                if edits:
                    print(kind, seed, json.dumps(measure(judge, prepared, edits, words)), flush=True)


if __name__ == "__main__":
    main()
