"""A BLIP captioner with the prompt "a picture of", and one without: CIDEr-D of the captions of a set's test photos, a pair of runs
for each seed, on a frozen image tower.

    python experiments/benchmarks/bench_prompt.py ../shared/data/ucm --image-tower efficientnet-lite0 --seeds 0 1 2 --steps 500

The set is a folder with the sets train and test. Printed too: the share of captions that begin with a first word of the photo's
own references.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import pairloom
from pairloom.metrics.captions import evaluate
from pairloom.metrics.compare import difference
from pairloom.metrics.words import words

KINDS = {"without": (), "a picture of": ("model.prompt_text=a picture of",)}


def captions(where: Path, prompt: tuple[str, ...], args: argparse.Namespace, seed: int) -> list[str]:
    """Captions of the test photos by a captioner that is trained on those of training."""
    with tempfile.TemporaryDirectory() as folder:
        pairloom.train(
            "blip", where / "train", Path(folder) / "m", preset="tower-caption", recipe="tower-caption", held_out=0.0,
            image_tower=args.image_tower, settings=[*prompt, f"steps={args.steps}"], seed=seed, device="cpu",
        )  # fmt: skip
        model = pairloom.load(Path(folder) / "m", "cpu")
        return [
            one.text for one in model.caption([pair.image.read() for pair in pairloom.open(where / "test")])
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--image-tower", default="efficientnet-lite0")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    references = [[text.text for text in pair.texts] for pair in pairloom.open(args.set / "test")]
    firsts = [{words(text)[0] for text in texts} for texts in references]
    each: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for seed in args.seeds:
        for kind, prompt in KINDS.items():
            begun = time.process_time()
            written = captions(args.set, prompt, args, seed)
            named = {str(at): text or "nothing" for at, text in enumerate(written)}
            report = evaluate(named, {str(at): texts for at, texts in enumerate(references)}, with_java=False)
            each[kind].append(np.asarray(report.scores["CIDEr-D"].each))
            first = np.mean(
                [bool(words(text)) and words(text)[0] in known for text, known in zip(written, firsts)]
            )
            seconds = time.process_time() - begun
            print(
                f"seed {seed}, {kind}: CIDEr-D {each[kind][-1].mean():.3f}, right first word {first:.3f}, {seconds:.0f} CPU s; {written[0]!r}",
                flush=True,
            )
    plain, prompted = (np.mean(each[kind], 0) for kind in KINDS)
    print(f"with the prompt minus without: {difference(prompted, plain)}")


if __name__ == "__main__":
    main()
