"""Oxford Pets (Parkhi et al. 2012) as in GDBench: zero-shot classification into 37 breeds, with one prompt each, on all
pictures of the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pairloom.bench._case import Case, CaseReader, Cases, released
from pairloom.bench._drawn import SIMPLE, Studio
from pairloom.bench._measure import Floats, Measure, top, top_as_published
from pairloom.errors import Mistake
from pairloom.world import Scene

CLAIM = "Pets: which of all breeds a picture shows, by the prompt 'a photo of a BREED'"
FOLDERS = ("pets",)
LISTED = "annotations/list.txt"


def read(root: Path) -> Cases:
    """Read classes.txt, one breed a line; pictures: images/Breed_Name_N.jpg. Where there is Oxford's annotations/list.txt, the
    missing pictures that it lists are counted."""
    reading = CaseReader(root)
    file = released(root, "classes.txt")
    try:
        breeds = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
        listed = (root / LISTED).read_text("utf-8").splitlines() if (root / LISTED).is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{root} cannot be read.", str(error), "Get classes.txt and list.txt again.") from error
    if len(breeds) < 2 or len(set(breeds)) < len(breeds):
        raise Mistake(
            f"{file} is not laid out as released.", f"{len(breeds)} lines, each breed once are needed."
        )
    names = {path.name for path in (root / "images").glob("*.jpg") if not path.name.startswith(".")}
    names |= {f"{line.split()[0]}.jpg" for line in listed if line.strip() and not line.startswith("#")}
    texts = tuple(f"a photo of a {breed}" for breed in breeds)
    for name in sorted(names):
        breed = " ".join(name.removesuffix(".jpg").split("_")[:-1]).lower()
        if breed not in breeds:
            reading.lost(f"images/{name}", "is of no breed in classes.txt")
            continue
        picture = reading.picture(f"images/{name}")
        reading.add(Case(name, (picture,), texts, ((0, breeds.index(breed)),), breed))
    return reading.finish()


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Accuracy over pictures, and as the mean over breeds."""
    tags = [case.tag for case in cases]
    return [
        top(1, "accuracy", cases, grids, headline=True),
        top(1, f"accuracy, macro over {len(set(tags))} classes", cases, grids, strata=tags),
        top_as_published(1, "accuracy", cases, grids),
    ]


def mini(out: Path, seed: int, count: int = 10) -> dict[Path, Scene]:
    """Miniature: `count` pictures of each of ten "breeds", which are a kind of thing of the drawn world in a colour."""
    studio = Studio(out, "pets", seed)
    breeds = [(SIMPLE.colours[at % 4], kind) for at, kind in enumerate(SIMPLE.kinds)]
    listed = ["#Image CLASS-ID SPECIES BREED ID"]
    for number, (colour, kind) in enumerate(breeds, 1):
        level = replace(SIMPLE, kinds=(kind,), colours=(colour,), things=(1.0,), relations=())
        for at, scene in enumerate(islice(studio.scenes(level, kind), count), 1):
            studio.put(scene, f"images/{colour.capitalize()}_{kind}_{at}.jpg")
            listed.append(f"{colour.capitalize()}_{kind}_{at} {number} 1 {number}")
    studio.write("classes.txt", "".join(f"{colour} {kind}\n" for colour, kind in breeds))
    studio.write(LISTED, "\n".join(listed) + "\n")
    return studio.shown
