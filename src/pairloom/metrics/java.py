"""METEOR 1.5 and SPICE by their published Java programs, through pycocoevalcap (the [java] extra).

Reimplementations of METEOR give other numbers (0.68 against 0.42 on one sentence), so there is none here: without Java the
metric is "not computed", with the reason. Nothing is downloaded: SPICE needs 384 MB of CoreNLP, and is not computed until
they are in place.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pairloom.metrics.overlap import References, Score


def missing(name: str) -> str:
    """The reason why METEOR or SPICE cannot run here; "" where it can."""
    if importlib.util.find_spec("pycocoevalcap") is None:
        return "needs pycocoevalcap: pip install pairloom[java]"
    if shutil.which("java") is None:
        return "needs Java: no `java` on the PATH"
    if name == "SPICE":
        spec = importlib.util.find_spec("pycocoevalcap.spice")
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not any((Path(place) / "lib" / "stanford-corenlp-3.6.0.jar").exists() for place in places):
            return "needs Stanford CoreNLP 3.6.0, which pycocoevalcap.spice.get_stanford_models would download (384 MB)"
    return ""


def meteor(captions: Sequence[str], references: References) -> Score:
    """METEOR 1.5 of tokenised texts. Raises OSError or ValueError where the program fails."""
    from pycocoevalcap.meteor.meteor import Meteor

    program = Meteor()
    try:
        value, each = program.compute_score(*_numbered(captions, references))
    finally:
        process = program.meteor_p
        process.kill()
        for pipe in (process.stdout, process.stderr):
            pipe.close()
    return Score(float(value), np.asarray(each, dtype=np.float64))


def spice(captions: Sequence[str], references: References) -> Score:
    """SPICE (its F score) of tokenised texts. Raises OSError, ValueError or CalledProcessError where the program fails."""
    from pycocoevalcap.spice.spice import Spice

    value, each = Spice().compute_score(*_numbered(captions, references))
    return Score(float(value), np.asarray([scores["All"]["f"] for scores in each], dtype=np.float64))


def _numbered(
    captions: Sequence[str], references: References
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    wanted = {row: list(group) for row, group in enumerate(references)}
    return wanted, {row: [text] for row, text in enumerate(captions)}
