"""Runs and label files with known answers, for the tests of labels: the pairs of `colours`, judged by `oracle`."""

from __future__ import annotations

from pathlib import Path

import colours
import oracle

from pairloom.clean.label_file import BAD, GOOD, LabelFile, SampledText
from pairloom.clean.result import CleanResult
from pairloom.data.shards import open_set, save_set


def run(root: Path, pairs: int = 120) -> CleanResult:
    """raw/ (tars of 40 pairs) and out/ (a finished run with captions) in the current folder, root."""
    save_set(open_set(colours.write(root / "folder", pairs)).pairs(), root / "raw", "webdataset", size=40)
    return oracle.run("raw", "out")


def truths(root: Path) -> dict[str, str]:
    """The right text of every pair, by its name."""
    return {pair.name: oracle.truth(pair.image.read()) for pair in open_set(root / "folder").pairs()}


def answer(root: Path, result: CleanResult, file: Path, count: int) -> Path:
    """A label file with the true answers about the first `count` texts of the sample."""
    right = truths(root)
    sample = result.label_sample(count)

    def says(text: SampledText) -> str:
        return GOOD if text.text == right[text.name] else BAD

    LabelFile(sample.origin, {text: says(text) for text in sample.texts}).save(file)
    return file
