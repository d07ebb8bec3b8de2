"""ARO's order sets (Yuksekgonul et al. 2023, arXiv 2210.01936): a caption against four shufflings of its own words.

The shufflings depend on part-of-speech tags. Where spaCy and its small English model are installed they are generated here,
by a seed; otherwise a prepared file is read. A language model without any picture solves most cases, as the text-only
baseline shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from pairloom.bench._case import Case, CaseReader, Cases, as_released, read_json, released, several, text_of
from pairloom.bench._drawn import PAIRS, Studio
from pairloom.bench._measure import Floats, Measure, top, top_as_published
from pairloom.data.pair import seed_of
from pairloom.errors import Mistake
from pairloom.world import Scene
from pairloom.world.lexicon import ATTRIBUTE_WORDS, KIND_WORDS
from pairloom.world.words import caption

LONGEST = 30  # most words of a caption; the others are cut off
MODEL = "en_core_web_sm"
Tagged = list[tuple[str, str]]  # (word, "noun" | "adjective" | "")
T = TypeVar("T")


def clean(text: str) -> str:
    """Normalise a caption as BLIP's and ARO's loaders do: lower case, without . ! " ( ) * # : ; ~, at most LONGEST words."""
    return " ".join(re.sub(r'[.!"()*#:;~]', " ", text.lower()).split()[:LONGEST])


def shufflings(tagged: Tagged, seed: int) -> list[str]:
    """ARO's four shufflings: nouns among nouns and adjectives among adjectives; everything else; within trigrams; the order of
    trigrams."""
    random = Random(seed)
    words = [word for word, _ in tagged]
    nouns, adjectives, rest = ([at for at, (_, tag) in enumerate(tagged) if tag == wanted] for wanted in ("noun", "adjective", ""))  # fmt: skip
    trigrams = [words[at : at + 3] for at in range(0, len(words), 3)]
    within = [_shuffled(trigram, random) for trigram in trigrams]
    rows = [
        _moved(_moved(words, nouns, random), adjectives, random),
        _moved(words, rest, random),
        [word for trigram in within for word in trigram],
        [word for trigram in _shuffled(trigrams, random) for word in trigram],
    ]
    return [" ".join(row) for row in rows]


def _shuffled(values: list[T], random: Random) -> list[T]:
    shuffled = list(values)
    random.shuffle(shuffled)
    return shuffled


def _moved(words: list[str], places: list[int], random: Random) -> list[str]:
    moved = list(words)
    for place, word in zip(places, _shuffled([words[at] for at in places], random)):
        moved[place] = word
    return moved


def read_orders(root: Path, annotations: str, prepared: str) -> Cases:
    """Read an order set. prepared: file with a list of image, caption_options [5], the true one first; without it
    annotations: file with a list of image, caption [several], which are shuffled here with spaCy's tags. Pictures: at the
    path `image`, or in images/."""
    reading = CaseReader(root)
    if (root / prepared).is_file():
        file = root / prepared
        for number, row in enumerate(read_json(file, list)):
            with as_released(file, f"entry {number}"):
                options = tuple(clean(text_of(text)) for text in several(row["caption_options"], 5))
                _add(reading, str(number), text_of(row["image"]), options)
    else:
        file = released(root, annotations)
        tag = tagger(prepared)
        for number, row in enumerate(read_json(file, list)):
            with as_released(file, f"entry {number}"):
                for index, text in enumerate(several(row["caption"])):
                    bent = shufflings(tag(text_of(text)), seed_of(text))
                    options = (clean(text), *map(clean, bent))
                    _add(reading, f"{number}/{index}", text_of(row["image"]), options)
    same = sum(case.texts[0] in case.texts[1:] for case in reading.cases)
    if same:
        reading.notes.append(
            f"in {same:,} cases a shuffling left the caption as it was; such a tie is shared"
        )
    return reading.finish()


def _add(reading: CaseReader, key: str, image: str, options: tuple[str, ...]) -> None:
    picture = reading.picture(image, f"images/{image.rpartition('/')[2]}")
    reading.add(Case(key, (picture,), options, ((0, 0),), group=image))


def tagger(prepared: str) -> Callable[[str], Tagged]:
    """Part-of-speech tagger of spaCy, with the tags of the released code. Mistake where spaCy or its model is not installed."""
    try:
        import spacy  # type: ignore[import-not-found,unused-ignore]

        model: Any = spacy.load(MODEL)
    except (ImportError, OSError) as error:
        raise Mistake(
            "The order sets need part-of-speech tags.",
            f"spaCy's {MODEL} is not installed ({error}), and {prepared} is not there.",
            f"Install spacy and {MODEL} (python -m spacy download {MODEL}), or make {prepared} where they are: the "
            "`test_cases` of ARO's own class as JSON, a list of image, caption_options (the true one, its four shufflings).",
        ) from error
    kinds = {"N": "noun", "J": "adjective"}
    return lambda text: [
        (token.text, kinds[token.tag_[0]] if token.tag_.startswith(("NN", "JJ")) else "")
        for token in model(text)
    ]


def measure_orders(cases: Sequence[Case], grids: Sequence[Floats]) -> list[Measure]:
    """Precision at 1 among the five."""
    note = "ties to the true caption, which comes first"
    return [top(1, "P@1", cases, grids, headline=True), top_as_published(1, "P@1", cases, grids, note=note)]


def mini_orders(
    out: Path, seed: int, annotations: str, prepared: str, images: str, count: int
) -> dict[Path, Scene]:
    """Write a miniature of `count` pictures with two captions each. The tags are known, since they are those of the drawn
    world's own words."""
    studio = Studio(out, annotations, seed)
    nouns = {word for words in KIND_WORDS.values() for word in words}
    adjectives = {word for sort in ATTRIBUTE_WORDS.values() for words in sort.values() for word in words}
    rows, ready = [], []
    for number, scene in zip(range(count), studio.scenes(PAIRS)):
        image = studio.put(scene, f"{images}/{number}.jpg")
        texts = [caption(scene, style) for style in ("full", "paraphrase")]
        rows.append({"image": image, "caption": texts})
        for text in texts:
            tagged = [
                (word, "noun" if word in nouns else "adjective" if word in adjectives else "")
                for word in clean(text).split()
            ]
            ready.append({"image": image, "caption_options": [text, *_unlike(tagged, seed)]})
    studio.write(annotations, rows)
    studio.write(prepared, ready)
    return studio.shown


def _unlike(tagged: Tagged, seed: int) -> list[str]:
    """Shufflings that all differ from the caption, so that there is one right answer."""
    text, turn = " ".join(word for word, _ in tagged), 0
    while text in (bent := shufflings(tagged, seed_of(text, seed, turn))):
        turn += 1
    return bent
