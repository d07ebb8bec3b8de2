"""MMBias (Janghorbani & de Melo 2023, arXiv 2303.12734) as in GDBench: are pictures of one group of people closer to pleasant
words than those of another?

Above 0 the first group is closer to the pleasant words; 0 is best. The released code computes two of the ten deviations over
the wrong groups, and gives neither p nor interval. A difference between two sets of pictures may be due to the people or to
the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from pairloom.bench._bias import effects
from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, several, text_of
from pairloom.bench._drawn import SIMPLE, Studio
from pairloom.bench._measure import Floats, Measure
from pairloom.world import Scene
from pairloom.world.scene import turn_of

CLAIM = "MMBias: how much closer to pleasant words one group's pictures are than another's (0 is best)"
FOLDERS = ("mmbias",)
PHRASES = ("textual_phrases.txt", "data/textual_phrases.txt")
GROUPS = {
    "Christian": "Religion", "Muslim": "Religion", "Jewish": "Religion", "Hindu": "Religion", "Buddhist": "Religion",
    "American": "Nationality", "Arab": "Nationality",
    "Heterosexual": "Sexual Orientation", "LGBT": "Sexual Orientation",
}  # fmt: skip
LISTED = {"Mental Disability": "mental", "Physical Disability": "disability"}  # their names in data/URLs.txt
# (first, second, groups over which the released code computes the deviation)
PAIRS = (
    ("Christian", "Muslim", ("Christian", "Muslim")), ("Christian", "Jewish", ("Christian", "Jewish")),
    ("Jewish", "Muslim", ("Jewish", "Muslim")), ("Buddhist", "Muslim", ("Buddhist", "Muslim")),
    ("Buddhist", "Christian", ("Christian", "Buddhist")), ("Buddhist", "Hindu", ("Christian", "Hindu")),
    ("Buddhist", "Jewish", ("Christian", "Jewish")), ("Hindu", "Muslim", ("Hindu", "Muslim")),
    ("American", "Arab", ("American", "Arab")), ("Heterosexual", "LGBT", ("Heterosexual", "LGBT")),
)  # fmt: skip


def read(root: Path) -> Cases:
    """Read textual_phrases.txt (JSON: pleasant_phrases, unpleasant_phrases, equally many); pictures:
    data/Images/CATEGORY/GROUP/*.jpg. A note names the groups without pictures, and, where there is data/URLs.txt, those with
    fewer pictures than it lists (it has no names of pictures)."""
    return read_groups(root, GROUPS)


def read_groups(root: Path, groups: Mapping[str, str]) -> Cases:
    """`read` for any groups (group -> category). Folders with the name GROUP.jpg, as in some archives, are read too."""
    reading = CaseReader(root)
    file = released(root, *PHRASES)
    phrases = read_json(file, dict)
    with as_released(file, "phrases"):
        pleasant, unpleasant = ([text_of(text) for text in several(phrases[f"{name}pleasant_phrases"])] for name in ("", "un"))  # fmt: skip
        if len(pleasant) != len(unpleasant):
            raise ValueError(f"{len(pleasant)} pleasant and {len(unpleasant)} unpleasant phrases")
    listed = _listed(root)
    for group, category in groups.items():
        places = [
            root / images / category / name
            for images in ("data/Images", "Images")
            for name in (group, f"{group}.jpg")
        ]
        files = sorted(next((place for place in places if place.is_dir()), places[0]).glob("*.jpg"))
        if len(files) < 2:
            reading.notes.append(f"{group}: {len(files)} pictures in data/Images/{category}/{group}, too few")
            continue
        wanted = listed.get(LISTED.get(group, group.lower()), 0)
        if len(files) < wanted:
            reading.notes.append(f"{group}: {len(files)} of {wanted} pictures")
        for path in files:
            picture = reading.picture(path.relative_to(root).as_posix())
            reading.add(Case(f"{group}/{path.name}", (picture,), (*pleasant, *unpleasant), tag=group))
    return reading.finish()


def _listed(root: Path) -> dict[str, int]:
    """Number of pictures of each group in the release, by its name in lower case; empty without the release's list."""
    file = root / "data/URLs.txt"
    if not file.is_file():
        return {}
    with as_released(file, "groups"):
        return {str(group).lower(): len(urls) for group, urls in read_json(file, dict).items()}


def measures(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Effect size of each pair of groups, with interval and Holm-adjusted permutation p, and as published."""
    return effects(cases, grids, PAIRS)


def mini(out: Path, seed: int, count: int = 20, phrases: int = 8) -> dict[Path, Scene]:
    """Miniature: pictures and phrases of the drawn world under the released names. All groups are drawn in the same manner, and
    so are the two lists of phrases, so that there is no association."""
    return mini_groups(Studio(out, "mmbias", seed), GROUPS, seed, count, phrases)


def mini_groups(
    studio: Studio, groups: Mapping[str, str], seed: int, count: int, phrases: int
) -> dict[Path, Scene]:
    """`mini` for any groups."""
    words = [f"a {colour} {kind}" for colour in SIMPLE.colours for kind in SIMPLE.kinds]
    mixed = turn_of(seed, "phrases").shuffle(words)
    studio.write(
        PHRASES[0],
        {
            "unpleasant_phrases": mixed[:phrases],
            "pleasant_phrases": mixed[phrases : 2 * phrases],
            "category_phrases": {},
        },
    )
    for group, category in groups.items():
        for at, scene in enumerate(islice(studio.scenes(SIMPLE, group), count)):
            studio.put(scene, f"data/Images/{category}/{group}/{at}.jpg")
    return studio.shown
