"""Drawing as a user asks for it: what is drawn and chosen how, and the record of it that lies in every picture's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pairloom
from pairloom.api.inputs import open_picture
from pairloom.api.results import Drawing
from pairloom.data.cut import cut_texts
from pairloom.data.pair import content_hash
from pairloom.errors import Mistake
from pairloom.model.fingerprint import fingerprint
from pairloom.tasks.best_of import (
    BestPicture,
    ModelScorer,
    PictureRequest,
    PictureScorer,
    draw_best,
    picture_requests,
)
from pairloom.tasks.draw import Beginning, PictureStyle, Sampling, draw_between, problem_of, to_image
from pairloom.verbs import demand

if TYPE_CHECKING:
    from pairloom.api.jobs import ModelJobs


@dataclass(frozen=True)
class DrawingOptions:
    """several: pictures of each text. best: candidates of each picture, of which the judge chooses one. group: pictures that are drawn
    together. seed: of all noise. begin: what every picture begins with, or whose style it has."""

    sampling: Sampling
    several: int = 1
    best: int = 1
    seed: int = 0
    group: int = 4
    judge: PictureScorer | None = None
    begin: Beginning | PictureStyle | None = None

    @classmethod
    def checked(
        cls, model: ModelJobs, *, several: int = 1, best: int = 1, judge: Any = None, steps: int | None = None,
        guidance: float | None = None, temperature: float | None = None, begin: Any = None, rows: int = 0, style: Any = None,
        seed: int = 0, group: int = 4,
    ) -> DrawingOptions:  # fmt: skip
        """From the keywords of `Model.draw`. Mistake for what does not fit, and for a model that does not draw."""
        demand(model.system, "draw")
        if min(several, best, group) < 1:
            raise Mistake(
                "These options do not fit.", "--several, --best, --steps and --group must be above 0."
            )
        if best > 1 and judge is None:
            why = f"Somebody has to choose among {best} pictures."
            raise Mistake("--best needs a judge.", why, "Add --judge MODEL: one that matches or embeds, say.")
        if (begin is None) != (rows == 0):
            why = "The first rows of a picture's codes are kept, and the rest is drawn."
            raise Mistake("--begin and --rows go together.", why, "Give both: --begin PICTURE --rows 4.")
        if begin is not None and style is not None:
            raise Mistake("--begin and --style do not go together.", "", "Leave one of them out.")
        beginning: Beginning | PictureStyle | None
        beginning = None if begin is None else Beginning(open_picture(begin), rows)
        beginning = beginning if style is None else PictureStyle(open_picture(style))
        if beginning is not None:
            beginning.demand(model)
        sampling = Sampling(steps, guidance, temperature)
        scorer = None if judge is None else scorer_of(judge, str(model.device))
        return cls(sampling, several, best, seed, group, scorer, beginning)

    def drawn_with(self, model: ModelJobs) -> dict[str, Any]:
        """What a picture depends on beside its text and number: model, version and options."""
        options: dict[str, Any] = {"seed": self.seed, **self.sampling.of(model.system)}
        if self.begin is not None:
            key = "style" if isinstance(self.begin, PictureStyle) else "begin"
            options |= {**self.begin.options, key: content_hash(self.begin.image.tobytes())}
        judged: dict[str, Any] = {"best_of": self.best}
        if self.judge is not None:
            judged |= {"judge": self.judge.identity, "by": self.judge.by}
        weights = {"model": Path(model.where).name, "system": model.name, "weights": fingerprint(model)}
        return {**weights, "options": options, **judged, "pairloom": pairloom.__version__}

    def notes(self, model: ModelJobs, texts: Sequence[str]) -> list[str]:
        """What the user should know: options that are not used, texts of which the judge reads only the beginning."""
        unused = self.sampling.unheard(model.system)
        notes = [f"this model draws without --{name}, which is not used" for name in unused]
        if isinstance(self.judge, ModelScorer):
            judge = self.judge.model
            cut = cut_texts(judge.tokens, texts, judge.config.length)
            notes += [f"for the judge {cut}"] if cut else []
        return notes


def scorer_of(judge: Any, device: str = "auto") -> PictureScorer:
    """A judge of pictures: a model or a saved judge, or from where it lies. Mistake where it cannot score pairs."""
    from pairloom.api.front import load, load_judge
    from pairloom.model import Model

    if isinstance(judge, (str, Path)):
        bare = (Path(judge) / "judge.json").is_file()
        judge = load_judge(judge, device) if bare else load(judge, device)
    return ModelScorer(judge) if isinstance(judge, Model) else judge  # type: ignore[no-any-return]


def drawing_of(wanted: PictureRequest, chosen: BestPicture, origin: dict[str, Any]) -> Drawing:
    """The result for a request."""
    best, candidates = chosen.best, tuple(asdict(one) for one in chosen.candidates)
    origin = {"number": wanted.number, **origin}
    return Drawing(wanted.text, chosen.image, best.seed, best.score, candidates, origin)


def draw_all(model: ModelJobs, texts: Sequence[str], options: DrawingOptions) -> list[list[Drawing]]:
    """`several` drawings of each text. Mistake for a text that cannot be drawn, or where a picture is not of finite numbers."""
    for problem in filter(None, (problem_of(model, text) for text in texts)):
        raise problem
    wanted = picture_requests(texts, options.several, options.best, options.seed)
    origin, results = options.drawn_with(model), []
    pictures = draw_best(model, wanted, options.sampling, options.group, options.begin, options.judge)
    for one, picture in zip(wanted, pictures):
        if isinstance(picture, Mistake):
            raise picture
        results.append(drawing_of(one, picture, origin))
    return [results[first : first + options.several] for first in range(0, len(results), options.several)]


def all_between(model: ModelJobs, first: str, second: str, steps: int, seeds: Sequence[int]) -> list[Drawing]:
    """Drawings on the way from one text to another, and from the noise of one seed to that of another."""
    demand(model.system, "draw")
    for problem in filter(None, (problem_of(model, text) for text in (first, second))):
        raise problem
    if steps < 2:
        raise Mistake("There is nothing between.", f"steps is {steps}.", "Give 2 or more.")
    origin = DrawingOptions(Sampling()).drawn_with(model)
    pictures = draw_between(model, (first, second), steps, seeds)
    return [
        Drawing(
            first,
            to_image(picture),
            seeds[0],
            origin={**origin, "to": second, "to_seed": seeds[1], "share": share},
        )
        for share, picture in pictures
    ]
