"""METEOR 1.5 and SPICE through pycocoevalcap (the [java] extra): those very programs, or nothing.

METEOR reimplemented elsewhere is another number (0.68 against 0.42 on one sentence has been seen), so nothing stands in
for it here: without Java the answer is "not computed", with the reason. Never downloads: SPICE asks for 384 MB of
CoreNLP on first use, and is not computed until they lie in place.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pairloom.metrics.overlap import References, Score


def missing(name: str) -> str:
    """Why METEOR or SPICE cannot run here; "" where it can."""
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
    """SPICE's F of tokenised texts. Raises OSError, ValueError or CalledProcessError where the program fails."""
    from pycocoevalcap.spice.spice import Spice

    value, each = Spice().compute_score(*_numbered(captions, references))
    return Score(float(value), np.asarray([scores["All"]["f"] for scores in each], dtype=np.float64))


def _numbered(
    captions: Sequence[str], references: References
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    wanted = {row: list(group) for row, group in enumerate(references)}
    return wanted, {row: [text] for row, text in enumerate(captions)}
