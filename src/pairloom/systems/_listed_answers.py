"""Systems of pairs that also answer questions from a list which travels in the model (VLP, VL-BERT).

B texts, A answers of a list.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pairloom.abilities import CHOOSE, Ability
from pairloom.data.batch import Batch
from pairloom.systems import _fusion as fusion


class ListedAnswers(nn.Module):
    """Answers from the list of the Config (`fusion.AnswerSizes`), if it has one. others: what else the system is asked."""

    heads = ("answer_head.",)
    others: tuple[Ability, ...] = ()
    config: Any

    def __init__(self) -> None:
        super().__init__()
        self.answer_head: Any = None

    @property
    def abilities(self) -> tuple[Ability, ...]:
        return (*self.others, CHOOSE) if self.config.answers else self.others

    @property
    def trains_on(self) -> tuple[str, ...]:
        return ("pairs", "answers") if self.config.answers else ("pairs",)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """With `labels` [B] (below 0 where a text is no question) those of pairs and of answers; with the scores of a list [B A], which
        a set of questions has, that of the answers alone. Texts without a picture have no answers."""
        answers = fusion.answer_losses(self, batch) if batch.regions is not None else {}
        if batch.labels is not None and batch.labels.ndim == 2:
            return answers
        return self.pair_losses(batch) | answers

    def pair_losses(self, batch: Batch) -> dict[str, Tensor]:
        """What the paper learns from pairs."""
        raise NotImplementedError
