"""Model as a user holds it: every ability is a method that takes pictures and texts and returns plain results.

Nothing needs `.eval()`, `torch.no_grad()`, a tokenizer or a Batch. A picture is a path, bytes, a PIL image or an array; one
gives one result, a list gives a list. A method that the model has no ability for raises a Mistake that names those it has. Each method imports its
task when it is called: loading a model loads no task.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.api.inputs import (
    Pictures,
    Texts,
    demand_speed,
    distinct,
    is_one_picture,
    one_or_all,
    open_picture,
    open_pictures,
    text_list,
)
from pairloom.api.jobs import ModelJobs
from pairloom.data.transform import Transform
from pairloom.errors import Mistake

if TYPE_CHECKING:
    from pairloom.api.explanation import PictureExplanation
    from pairloom.api.pairs import PairSet
    from pairloom.api.region_explanation import BoxExplanation, ReferredBox
    from pairloom.api.results import Embeddings, Scores
    from pairloom.model import Model as BareModel
    from pairloom.tasks.dialog import Ranking


@dataclass(repr=False)
class Model(ModelJobs):
    """A system with its tokens and pixels, ready to be asked. `pairloom.load` gives one; where: from what it was loaded."""

    @classmethod
    def of(cls, model: BareModel, where: str = "") -> Model:
        """The same model, with the methods of this class."""
        parts = {entry.name: getattr(model, entry.name) for entry in fields(model)}
        own = cls(**{**parts, "where": where})
        own.system.eval()
        return own

    @property
    def abilities(self) -> frozenset[str]:
        """What it can be asked, as its system declares: "match", "embed", "caption", "answer", "reason" ..."""
        return frozenset(ability.name for ability in self.system.abilities)

    @property
    def scores_by(self) -> tuple[str, ...]:
        """How it can score a text against a picture, the best judge first: "match head", "cosine" ..."""
        from pairloom import verbs

        return tuple(verbs.ways(self.system))

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.system.parameters())
        able = ", ".join(sorted(self.abilities))
        return f"Model({self.name}, {size:,} parameters, abilities: {able or 'none'}, on {self.device})"

    def at_speed(self, speed: str = "fast") -> Model:
        """The same model laid out for this machine: "exact" (fp32, the same tokens), "fast" or "int8" (docs/speed.md).

        Mistake for another word.
        """
        return super().at_speed(demand_speed(speed))  # type: ignore[return-value]

    def _open(self, pictures: Pictures) -> list[Any]:
        """The pictures as the model reads them: upright RGB images, or their regions. Mistake where one cannot be read."""
        if isinstance(self.feed, Transform):
            return open_pictures(pictures)
        from pairloom.api.region_source import open_features_of

        return open_features_of(self, pictures)

    def match(self, images: Pictures, texts: Texts, *, by: str | None = None) -> Scores:
        """Score every text against every picture: values [M] for one picture, [N M] for a list; higher is better.

        by: one of `scores_by`; the best judge without it.
        """
        return self.match_all(images, texts, by=[self._way(by)])[0]

    def match_all(
        self, images: Pictures, texts: Texts, *, by: Iterable[str] | None = None
    ) -> tuple[Scores, ...]:
        """`match` by each of `scores_by`, the best judge first; pictures are encoded once for all of them."""
        from pairloom.api.results import Scores
        from pairloom.data.cut import cut_texts
        from pairloom.tasks.judge import score_table

        wanted = text_list(texts)
        self._way()
        ways = tuple(self._way(one) for one in by) if by else self.scores_by
        tables = score_table(self, self._open(images), wanted, ways)
        cut = cut_texts(self.tokens, wanted, self.config.length)
        flat = is_one_picture(images)
        return tuple(
            Scores(table[0] if flat else table, way, tuple(wanted), cut) for way, table in tables.items()
        )

    def caption(
        self,
        images: Pictures,
        *,
        beams: int | None = None,
        several: int = 1,
        prompt: str | None = None,
        way: str = "beam",
        top_p: float = 0.9,
        max_length: int = 0,
        min_length: int | None = None,
        length_rule: str | None = None,
        seed: int = 0,
    ) -> Any:
        """A `Caption` for each picture; with several > 1 a list of so many for each.

        None, and max_length 0: as in the model's own `generation`. way: beam, greedy or nucleus. prompt: words that captions
        begin with, in place of those that the model learnt. Lengths are in tokens, with the prompt. length_rule: docs/papers/blip.md.
        """
        self._demand("caption")
        from pairloom.data.pair import content_hash, seed_of
        from pairloom.tasks import caption as captioning

        options = captioning.Captioning.checked(
            self, way=way, beams=beams, max_length=max_length, min_length=min_length, top_p=top_p,
            several=several, prompt=prompt, length_rule=length_rule,
        )  # fmt: skip
        opened = self._open(images)
        seeds = [seed_of(content_hash(image.tobytes()), "caption", seed) for image in opened]
        rows = captioning.caption(self, opened, options, seeds)
        return one_or_all([row[0] if several == 1 else row for row in rows], is_one_picture(images))

    def embed(self, images: Pictures | None = None, texts: Texts | None = None) -> Embeddings:
        """Unit vectors of pictures and texts in one space; `.similarity` has the cosines of all with all."""
        self._demand("embed")
        if images is None and texts is None:
            raise Mistake("There is nothing to embed.", "", "Give images=, texts= or both.")
        from pairloom.api.results import Embeddings
        from pairloom.data.cut import cut_texts
        from pairloom.tasks import embed as embedding

        wanted = None if texts is None else text_list(texts)
        return Embeddings(
            None if images is None else embedding.embed_images(self, self._open(images)),
            None if wanted is None else embedding.embed_texts(self, wanted),
            cut_texts(self.tokens, wanted or (), self.config.length),
        )

    def answer(
        self,
        images: Pictures,
        questions: Texts,
        *,
        choices: Sequence[str] = (),
        several: int = 1,
        beams: int = 3,
        max_length: int = 10,
        first: int = 128,
    ) -> Any:
        """An `Answer` to each question: one question about each picture, or one question a picture in order.

        choices: answers to choose from, of which only the `first` with the likeliest beginnings are read (0: all); without
        them the model writes. With several > 1 a list for each.
        """
        self._demand("choose" if "choose" in self.abilities else "answer")
        from pairloom.tasks import answer as answering

        options = answering.Answering.checked(
            self, choices=choices, several=several, beams=beams, max_length=max_length, first=first
        )
        opened, question_list = self._open(images), text_list(questions, "question")
        for text in question_list:
            answering.demand_short("question", answering.plain(text), self.tokens, self.config.length)
        wanted, of = answering.paired(len(opened), question_list)
        rows = answering.answer(self, opened, wanted, options, of)
        single = is_one_picture(images) and isinstance(questions, str)
        return one_or_all([row[0] if several == 1 else row for row in rows], single)

    def classify(
        self,
        images: Pictures,
        classes: Sequence[str],
        *,
        template: str = "photo",
        top: int = 5,
        temperature: float = 0.01,
    ) -> Any:
        """A list of `Label` for each picture, best first: its name, its share of the softmax, its cosine.

        template: "photo", "name", "imagenet" (80 prompts), or your own: "a sketch of a {}.".
        """
        self._demand("embed")
        from pairloom.tasks.classify import Classifier, Classifying

        options = Classifying(template, top, temperature)
        classifier = Classifier(self, distinct(classes), options)
        if classifier.cut:
            warnings.warn(f"{classifier.cut}.", stacklevel=2)
        return one_or_all(classifier.labels(self._open(images)), is_one_picture(images))

    def reason(self, images: Any, statements: Texts) -> Any:
        """A `Verdict`, true or not and how likely: of a statement about its pictures, in their order.

        Several statements come with a list of pictures each: reason([["l.png", "r.png"], ...], [statement, ...]).
        """
        self._demand("reason")
        from pairloom.tasks import reason as reasoning
        from pairloom.tasks.answer import demand_short

        single = isinstance(statements, str)
        groups = [images] if single else list(images)
        statement_list = text_list(statements, "statement")
        if len(groups) != len(statement_list):
            raise ValueError(f"{len(statement_list)} statements and {len(groups)} groups of pictures")
        for group, text in zip(groups, statement_list):
            reasoning.demand_pictures(self, 1 if is_one_picture(group) else len(group))
            demand_short("statement", reasoning.plain(text), self.tokens, self.config.length)
        return one_or_all(
            reasoning.reason(self, [self._open(group) for group in groups], statement_list), single
        )

    def dialog(
        self,
        image: Any,
        question: str,
        candidates: Sequence[str],
        *,
        caption: str = "",
        history: Sequence[tuple[str, str]] = (),
    ) -> Ranking:
        """The candidates in the order in which they fit as answer to `question`, after the caption and all rounds.

        history: earlier rounds, (question, answer), in order.
        """
        self._demand("dialog")
        from pairloom.data.pair import Round
        from pairloom.tasks import dialog as talking

        rounds = [Round(*entry) for entry in history]
        encoded = talking.encode(self, open_picture(image), caption)
        return talking.rank(self, encoded, rounds, question, distinct(candidates))

    def prompt(
        self,
        images: Pictures,
        examples: PairSet | str | Path | Iterable[tuple[Any, str]],
        *,
        question: str = "",
        choices: Sequence[str] = (),
        shots: int = 4,
        template: str = "caption",
        alike: bool = True,
        orders: int = 1,
        beams: int = 3,
        max_length: int = 20,
        seed: int = 0,
    ) -> Any:
        """An answer to each picture by examples in the prompt, a set of pairs or (picture, answer) tuples."""
        self._demand("prompt")
        from pairloom.api.pairs import example_pairs
        from pairloom.tasks import few_shot

        opened = open_pictures(images)
        shown, answers = example_pairs(examples)
        options = few_shot.Prompting.checked(
            template, shots=shots, alike=alike, orders=orders, seed=seed, beams=beams, max_length=max_length,
            choices=choices,
        )  # fmt: skip
        prompter = few_shot.Prompter(self, shown, answers, options, question)
        return one_or_all(prompter.answer(opened), is_one_picture(images))

    def explain(
        self, image: Any, text: str = "", *, way: str = "", by: str = "", checks: int = 20, seed: int = 0
    ) -> PictureExplanation | BoxExplanation:
        """Which parts of the picture account for each word of a text; without a text the model writes one. In a model of regions:
        which boxes account for the text, or for the answer to a question.

        way: attention, gradient or occlusion. by: which of `scores_by` to explain; of regions also "answer" or "truth". checks:
        random choices of cells or boxes that the map is tested against.
        """
        if isinstance(self.feed, Transform):
            from pairloom.api.explanation import explain_picture

            return explain_picture(self, open_picture(image), text, way, by, checks, seed)
        from pairloom.api.region_explanation import explain_boxes

        return explain_boxes(self, image, text, way, by, checks, seed)

    def boxes(self, image: Any, text: str) -> list[ReferredBox]:
        """The regions that a text refers to, best first; of a question those that its answer rests on. For models of regions."""
        from pairloom.api.region_explanation import referred_boxes

        return referred_boxes(self, image, text)

    def draw(
        self,
        texts: Texts,
        *,
        several: int = 1,
        best: int = 1,
        judge: Any = None,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        begin: Any = None,
        rows: int = 0,
        style: Any = None,
        seed: int = 0,
        group: int = 4,
    ) -> Any:
        """A `Drawing` for each text; with several > 1 a list of so many for each. group: drawn together.

        best: candidates for each drawing, of which `judge` (a model that scores pairs, a saved judge, or where one lies) chooses one.
        begin, rows: a picture of whose codes the first rows are kept and the rest is drawn. style: a picture in whose style it is drawn.
        """
        from pairloom.api.drawing import DrawingOptions, draw_all

        options = DrawingOptions.checked(
            self, several=several, best=best, judge=judge, steps=steps, guidance=guidance, temperature=temperature,
            begin=begin, rows=rows, style=style, seed=seed, group=group,
        )  # fmt: skip
        drawings = draw_all(self, text_list(texts), options)
        return one_or_all([row[0] if several == 1 else row for row in drawings], isinstance(texts, str))

    def draw_between(self, first: str, second: str, *, steps: int = 8, seeds: Sequence[int] = (0, 0)) -> Any:
        """`steps` `Drawing`s on the way from one text to another, and from the noise of one seed to another's."""
        from pairloom.api.drawing import all_between

        return all_between(self, first, second, steps, seeds)
