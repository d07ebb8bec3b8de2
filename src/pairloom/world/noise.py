"""Web text: noisy texts in place of captions, as pictures on the web have them. Their truth is returned apart.

The shares are ours, not measured on a crawl: half of the noise is a wrong text in good English, the rest states little or
nothing about the picture.
Does not know: files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pairloom.errors import nearest
from pairloom.world.claim import is_true
from pairloom.world.languages import LANGUAGES, translate
from pairloom.world.negatives import negative
from pairloom.world.read import read
from pairloom.world.scene import Scene, Turn
from pairloom.world.words import caption, claim_of, say

SHARES: dict[str, float] = {
    "mismatch": 0.3,  # the caption of another picture
    "wrong_attribute": 0.2,  # its own caption with one colour, kind, number, relation ... false
    "spam": 0.1,
    "file_name": 0.12,
    "boilerplate": 0.1,
    "other_language": 0.08,  # true, but not English
    "truncation": 0.1,  # its own caption, cut in the middle
}
NOISES = tuple(SHARES)
_WRONG = (
    "replace_attribute",
    "swap_attribute",
    "replace_object",
    "swap_relation",
    "replace_count",
    "replace_subject",
    "swap_order",
)
_GOODS = (
    "sneakers",
    "watches",
    "phone cases",
    "handbags",
    "sunglasses",
    "garden chairs",
    "mattresses",
    "e-books",
)
_SPAM = (
    "Buy cheap {goods} online! Free shipping on orders over ${n}",
    "{n}% OFF {goods} - limited time offer, click here!!!",
    "Best {goods} 20{n} | Reviews, Deals & Coupons",
    "WIN {n}000 dollars today, sign up now!",
    "hot sale {goods} wholesale factory price min. order {n} pieces",
    "Top {n} {goods} you need right now",
)
_FILES = ("IMG_{n:04d}.JPG", "DSC{n:05d}.jpg", "image-{n}x{m}.png", "{n}_{m}_b.jpg", "Screenshot 20{y}-0{d}-1{d} at {d}.4{d}.png", "photo({d}).jpeg", "untitled-{n}.png", "20{y}0{d}1{d}_{n}{m}.jpg", "thumb_{n}_{m}.webp")  # fmt: skip
_BOILERPLATE = (
    "Click to enlarge", "Image may contain copyrighted material. All rights reserved.", "Stock photo", "Skip to main content",
    "Share on Facebook Share on Twitter", "Photo by the author", "Loading...", "View full size image", "Download free vector",
    "This image is no longer available", "Page {d} of {n}", "Posted by admin on May {d}, 20{y}", "Image {d} of {n}",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """Truth about the text of a picture.

    noise: "" for a clean caption, else one of NOISES. clean: the caption that was replaced. true: whether all facts of the
    text (in English; for other_language, in its own language) are true of the picture; None: it states no fact.
    """

    noise: str
    clean: str
    true: bool | None
    detail: str = ""


def web_text(
    scene: Scene,
    other: Callable[[Turn], Scene],
    turn: Turn,
    style: str = "full",
    variant: int = 0,
    share: float = 0.3,
    shares: Mapping[str, float] = SHARES,
) -> tuple[str, Truth]:
    """The scene's caption, or with probability `share` noise in its place. `other` draws another scene of the set."""
    clean = caption(scene, style, variant)
    if not turn.chance(share):
        return clean, Truth("", clean, True)
    unknown = [name for name in shares if name not in SHARES]
    if unknown:
        raise ValueError(f"There is no noise '{unknown[0]}'. {nearest(unknown[0], SHARES)}")
    names = list(shares)
    return spoil(scene, names[turn.weigh(list(shares.values()))], other, turn, style, variant)


def spoil(
    scene: Scene,
    noise: str,
    other: Callable[[Turn], Scene],
    turn: Turn,
    style: str = "full",
    variant: int = 0,
) -> tuple[str, Truth]:
    """A text of one kind of noise for the scene, and the truth about it."""
    clean = caption(scene, style, variant)
    if noise == "mismatch":
        return _mismatch(scene, clean, other, turn, style, variant)
    if noise == "wrong_attribute":
        for swap in (*turn.shuffle(_WRONG), "replace_attribute"):
            bent = negative(scene, swap, style, variant)
            if bent is not None:
                return bent.negative, Truth(noise, clean, False, swap)
        raise AssertionError("every caption names a colour that can be replaced")
    if noise == "other_language":
        language = turn.pick(LANGUAGES)
        return translate(claim_of(scene, style, variant), language), Truth(noise, clean, True, language)
    if noise == "truncation":
        text = _cut(clean, turn)
        reading = read(text, scene)
        return text, Truth(noise, clean, reading.right if reading.stated else None)
    form = turn.pick({"spam": _SPAM, "file_name": _FILES, "boilerplate": _BOILERPLATE}[noise])
    n, m, y, d = (
        int(turn.between(10, 99)),
        int(turn.between(100, 999)),
        int(turn.between(10, 25)),
        int(turn.between(1, 9)),
    )
    text = form.format(goods=turn.pick(_GOODS), n=n, m=m, y=y, d=d)
    return text, Truth(noise, clean, None)


def _mismatch(
    scene: Scene, clean: str, other: Callable[[Turn], Scene], turn: Turn, style: str, variant: int
) -> tuple[str, Truth]:
    """The caption of another scene; one that happens to be true of this one is no mismatch and is drawn again."""
    for _ in range(100):
        source = other(turn)
        claim = claim_of(source, style, variant)
        if not is_true(claim, scene):
            return say(claim, style, source.seed, variant), Truth("mismatch", clean, False, str(source.seed))
    raise ValueError("100 other scenes in a row fit this one: mismatch needs scenes that differ")


def _cut(clean: str, turn: Turn) -> str:
    """The first 25 to 75 % of the characters, at least one word missing."""
    return clean[: max(3, int(len(clean) * turn.between(0.25, 0.75)))].rstrip()
