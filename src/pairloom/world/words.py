"""Captions: a scene becomes a claim, a claim becomes a sentence, in four styles.

terse: "red cat chasing blue bird". full: whole sentences with every attribute and the place. paraphrase: other words,
other order, the same truth. alt: as in the alt text of a web page.
Does not know: pixels, whether a claim is true.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pairloom.errors import nearest
from pairloom.world.claim import Claim, Link, Mention
from pairloom.world.lexicon import (
    ATTRIBUTE_WORDS,
    KIND_WORDS,
    NUMBERS,
    PATTERN_TAILS,
    PLACE_WORDS,
    RELATION_WORDS,
    SPATIAL,
    plural,
)
from pairloom.world.scene import Scene, Thing, Turn, turn_of

STYLES = ("terse", "full", "paraphrase", "alt")
_ALT_OPENINGS = ("Illustration of", "Drawing of", "Picture of", "Cartoon showing", "An image of")


def caption(scene: Scene, style: str = "full", variant: int = 0) -> str:
    """A true caption of the scene. Other variants have other words and may leave out other things."""
    return say(claim_of(scene, style, variant), style, scene.seed, variant)


def claim_of(scene: Scene, style: str = "full", variant: int = 0) -> Claim:
    """The claim of that caption; all its facts are true."""
    if style not in STYLES:
        raise ValueError(f"There is no caption style '{style}'. {nearest(style, STYLES)}")
    turn = turn_of(scene.seed, "claim", style, variant)
    relations = scene.relations[: 1 if style == "terse" else None]
    if style == "alt":
        relations = relations[: turn.pick((1, 1, 2))]
    mentioned = (
        sorted({end for r in relations for end in (r.subject, r.object)})
        if style == "terse"
        else range(len(scene.things))
    )
    mentioned = list(mentioned) or [0]
    mentions = tuple(_mention(scene.things[index], style, turn) for index in mentioned)
    links = tuple(Link(r.name, mentioned.index(r.subject), mentioned.index(r.object)) for r in relations)
    placed = style in ("full", "alt") or (style == "paraphrase" and turn.chance(0.6))
    return Claim(mentions, links, scene.place if placed and scene.place != "plain" else "")


def _mention(thing: Thing, style: str, turn: Turn) -> Mention:
    size = bool(thing.size) and (style == "full" or (style != "terse" and turn.chance(0.5)))
    pattern = thing.pattern != "plain" and (style == "full" or turn.chance(0.3 if style == "terse" else 0.6))
    attributes = [("size", thing.size)] if size else []
    attributes += [("pattern", thing.pattern)] if pattern else []
    attributes += [("colour", thing.colour)]
    return Mention(thing.kind, tuple(attributes), thing.count if thing.count > 1 else None)


def say(claim: Claim, style: str, seed: int, variant: int = 0) -> str:
    """The sentences of a claim. Claims of the same structure get the same choice of words from one seed and variant."""
    return _Speaker(claim, style, turn_of(seed, "say", style, variant)).say()


@dataclass
class _Speaker:
    claim: Claim
    style: str
    turn: Turn
    named: set[int] = field(default_factory=set)

    def say(self) -> str:
        if self.style == "terse":
            return ", ".join(self._phrases())
        if self.style == "alt":
            return f"{self.turn.pick(_ALT_OPENINGS)} {' and '.join(self._phrases())}{self._place(', ', ' ')}"
        return self._sentences()

    def _phrases(self) -> list[str]:
        """Phrases without verbs for the relations and for the things in none."""
        phrases = []
        for link in self.claim.links:
            if link.subject in self.named and link.object in self.named:
                continue
            bare, _, inverse, _ = RELATION_WORDS[link.name]
            turned = bool(inverse) and self.turn.chance(0.3) != link.turned
            ends = (link.object, link.subject) if turned else (link.subject, link.object)
            words = self._word(inverse if turned else bare)
            phrases.append(f"{self.noun(ends[0])} {words} {self.noun(ends[1])}")
        phrases += [self.noun(index) for index in range(len(self.claim.mentions)) if index not in self.named]
        return phrases

    def _sentences(self) -> str:
        sentences = []
        for number, link in enumerate(self.claim.links):
            sentences.append(self._link(link) + (self._place(" ") if number == 0 else ""))
        alone = [index for index in range(len(self.claim.mentions)) if index not in self.named]
        if alone:
            verb = "are" if (self.claim.mentions[alone[0]].count or 1) > 1 else "is"
            opening = self.turn.pick(
                ("There {}", "You can see", "Here {}") if self.style == "paraphrase" else ("There {}",)
            )
            also = " also" if sentences and "{" in opening and opening[0] == "T" else ""
            subject = " and ".join(self.noun(index) for index in alone)
            sentences.append(
                f"{opening.format(verb)}{also} {subject}" + ("" if self.claim.links else self._place(" "))
            )
        return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)

    def _link(self, link: Link) -> str:
        bare, finite, inverse, finite_inverse = RELATION_WORDS[link.name]
        turned = (
            bool(inverse) and self.turn.chance(0.5 if self.style == "paraphrase" else 0.25) != link.turned
        )
        first, second = (link.object, link.subject) if turned else (link.subject, link.object)
        if self.style == "paraphrase" and link.name in SPATIAL and self.turn.chance(0.3):
            words = self._word(inverse if turned else bare)
            landmark = self.noun(second)
            verb = "are" if (self.claim.mentions[first].count or 1) > 1 else "is"
            return f"{words} {landmark} {verb} {self.noun(first)}"
        words = self._word(finite_inverse if turned else finite)
        if (self.claim.mentions[first].count or 1) > 1:
            words = _agree(words)
        return f"{self.noun(first)} {words} {self.noun(second)}"

    def _word(self, options: tuple[str, ...]) -> str:
        return (
            self.turn.pick(options)
            if self.style in ("paraphrase", "alt") or self.turn.chance(0.3)
            else options[0]
        )

    def _place(self, before: str, bare: str = " ") -> str:
        return before + self._word(PLACE_WORDS[self.claim.place]) if self.claim.place else ""

    def noun(self, index: int) -> str:
        """ "a small striped red ball" at first, "the ball" from then on ("the red ball" if there are two)."""
        mention = self.claim.mentions[index]
        assert mention.kind is not None
        many = (mention.count or 1) > 1
        name = self._synonym(KIND_WORDS[mention.kind])
        name = plural(name) if many else name
        if index in self.named and self.style != "terse":
            same = sum(other.kind == mention.kind for other in self.claim.mentions)
            colours = [value for sort, value in mention.attributes if sort == "colour"] if same > 1 else []
            return " ".join(["the", *colours, name])
        self.named.add(index)
        tail = ""
        words = []
        for sort, value in mention.attributes:
            if (
                sort == "pattern"
                and value in PATTERN_TAILS
                and self.style == "paraphrase"
                and self.turn.chance(0.5)
            ):
                tail = " " + self.turn.pick(PATTERN_TAILS[value])
            else:
                words.append(self._synonym(ATTRIBUTE_WORDS[sort][value]))
        if mention.count is not None:
            words.insert(0, NUMBERS[mention.count])
        phrase = " ".join([*words, name]) + tail
        if self.style == "terse" or mention.count is not None:
            return phrase
        return ("an " if phrase[0] in "aeiou" else "a ") + phrase

    def _synonym(self, options: tuple[str, ...]) -> str:
        return self.turn.pick(options) if self.style == "paraphrase" else options[0]


def _agree(words: str) -> str:
    """The plural of a verb phrase: "is left of" -> "are left of", "floats above" -> "float above"."""
    verb, _, rest = words.partition(" ")
    plain = {"is": "are", "chases": "chase", "pushes": "push"}.get(verb, verb.removesuffix("s"))
    return f"{plain} {rest}".strip()
