"""Rules on texts: what they call bad and what they doubt, on captions that are good and on texts of known kinds.

    python experiments/benchmarks/bench_rules.py good ../shared/data/coco-sample ../shared/data/fsa   # false alarms, on sets
    python experiments/benchmarks/bench_rules.py good ../shared/data/metrics/coco1000_gts.json       # and on texts in JSON
    python experiments/benchmarks/bench_rules.py kinds ../shared/cases/planted.py                    # lists of faulty texts in a script
    python experiments/benchmarks/bench_rules.py web ../shared/cases/texts/alt_texts.txt --show 300  # real alt-texts, one a line
    python experiments/benchmarks/bench_rules.py speed ../shared/cases/texts/alt_texts.txt --before OLD/src/pairloom/clean/faults.py

`kinds` reads the calls texts('NAME', [...]) of the script, which is not run. `web` counts each code, prints what is bad in full, and
draws `--show` texts without a bad fault or a doubt, for a person to read: recall comes from those. `speed` runs 100,000 texts
through the rules of now and of an earlier faults.py, by turns; both times are processor seconds.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pairloom.clean.faults import FAULTS
from pairloom.clean.text_faults import text_faults
from pairloom.data.shards import open_set

TEXTS, ROUNDS = 100_000, 3


def severities(text: str) -> set[str]:
    return {FAULTS[code].severity for code in text_faults(text)}


def counted(texts: list[str]) -> str:
    """Texts that are bad, that are bad or doubted, and the count of each code."""
    held = [severities(text) for text in texts]
    codes = Counter(code for text in texts for code in text_faults(text))
    either = sum(not each.isdisjoint({"bad", "doubt"}) for each in held)
    listed = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    return f"{len(texts):>6} texts: bad {sum('bad' in each for each in held)}, bad or doubted {either}  ({listed})"


def texts_of(path: Path) -> list[str]:
    """The texts of a set, of the strings in a JSON file, or of the lines of a text file."""
    if path.suffix == ".json":
        return list(_strings(json.loads(path.read_text("utf-8"))))
    if path.suffix == ".txt":
        return path.read_text("utf-8").split("\n")[:-1]
    return [text.text for pair in open_set(path).pairs() for text in pair.texts]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (
            text for name, one in value.items() if name not in ("id", "image_id") for text in _strings(one)
        )
    elif isinstance(value, list):
        yield from (text for one in value for text in _strings(one))


def kinds_in(script: Path) -> dict[str, list[str]]:
    """The lists of texts that a script names: of its calls texts('NAME', [...])."""
    calls = (node for node in ast.walk(ast.parse(script.read_text("utf-8"))) if isinstance(node, ast.Call))
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "texts"]
    return {ast.literal_eval(call.args[0]): ast.literal_eval(call.args[1]) for call in named}


def show_web(texts: list[str], count: int) -> None:
    print(counted(texts))
    for text in texts:
        if "bad" in severities(text):
            print(f"  bad {text_faults(text)}  {text[:110]!r}")
    quiet = [text for text in texts if severities(text).isdisjoint({"bad", "doubt"})]
    for text in random.Random(11).sample(quiet, min(count, len(quiet))):
        print(f"  unflagged  {text[:110]!r}")


def measure_speed(texts: list[str], before: Path) -> None:
    """Print the seconds of both rules on the same texts, by turns, and their ratio."""
    spec = importlib.util.spec_from_file_location("faults_before", before)
    assert spec is not None and spec.loader is not None
    earlier = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = earlier
    spec.loader.exec_module(earlier)
    many = list(itertools.islice(itertools.cycle(texts), TEXTS))
    ratios = []
    for _ in range(ROUNDS):
        then, now = seconds(earlier.text_faults, many), seconds(text_faults, many)
        ratios.append(now / then)
        print(f"  before {then:.2f} s, now {now:.2f} s, ratio {now / then:.2f}")
    print(f"  median ratio {sorted(ratios)[ROUNDS // 2]:.2f}")


def seconds(rules: Callable[[str], list[str]], texts: Iterable[str]) -> float:
    start = time.process_time()
    for text in texts:
        rules(text)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("good", "kinds", "web", "speed"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--show", type=int, default=0, help="unflagged texts to print")
    parser.add_argument("--before", type=Path, help="an earlier faults.py")
    options = parser.parse_args()
    for path in options.paths:
        if options.what == "kinds":
            for kind, texts in kinds_in(path).items():
                print(f"{kind:<20} {counted(texts)}")
            continue
        texts = texts_of(path)
        print(path.name)
        if options.what == "good":
            print(counted(texts))
            for text in texts:
                if severities(text) & {"bad", "doubt"}:
                    print(f"  {text_faults(text)}  {text[:110]!r}")
        elif options.what == "web":
            show_web(texts, options.show)
        else:
            assert options.before is not None, "speed needs --before"
            measure_speed(texts, options.before)


if __name__ == "__main__":
    main()
