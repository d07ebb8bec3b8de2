"""Self-critical sequence training (Rennie et al., 2017, arXiv 1612.00563): REINFORCE on sampled texts, with the reward of the
greedy text as the baseline.

It trains every system with `start`, `step` and `logits`. A reward is a name of REWARDS. CIDEr-D is computed on n-grams of
token ids, so that no text needs to be decoded.
Does not know: architectures, tokenizers, the loop.

B texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pairloom.data.batch import Batch, Texts
from pairloom.data.loader import TextTable
from pairloom.data.order import Rows
from pairloom.errors import Mistake, nearest
from pairloom.metrics.overlap import Frequencies, cider_d, frequencies
from pairloom.tasks.decode import Writing, Written, decode
from pairloom.verbs import Ability, Progress, Remembers, Sees, Writes, able, prompt_of

# (image_ids [B], texts [B]) -> reward of each text for its picture; higher is better
Reward = Callable[[Sequence[int], Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Cider:
    """CIDEr-D reward against all texts of a picture, with document frequencies of the whole training set.

    The end token counts as a word, in references and in texts that have ended: without it the reward leads to texts with
    bad endings.
    """

    references: dict[int, list[str]]
    known: Frequencies

    @classmethod
    def of(cls, texts: TextTable, rows: Rows, ids: Rows | None, before: int = 1) -> Cider:
        """The reward for a Loader's training set: its table, its rows and its image_ids (None: the index of the row). before:
        tokens that every text of the table begins with."""
        references: dict[int, list[str]] = {}
        for row in rows:
            held = references.setdefault(int(row if ids is None else ids[row]), [])
            for text in range(int(texts.first[row]), int(texts.first[row + 1])):
                start, end = int(texts.start[text]), int(texts.start[text + 1])
                held.append(_spell(texts.ids[start + before : end].tolist()))
        return cls(references, frequencies(list(references.values())))

    def __call__(self, pictures: Sequence[int], texts: Sequence[str]) -> list[float]:
        """CIDEr-D of each text, 0 to 10."""
        return list(cider_d(texts, [self.references[picture] for picture in pictures], self.known).each)


class SelfCritical(nn.Module):
    """Wrapper that trains a system by a reward; all else is delegated to the system.

    Loss: - (reward(sampled) - reward(greedy)) log p(sampled), averaged over the texts (equation 8). The greedy text is the
    system's output in use, so only texts with a higher reward become likelier.
    """

    def __init__(self, system: Any, reward: Reward, length: int) -> None:
        super().__init__()
        self.system, self.reward, self.length = system, reward, length
        self.training_state: tuple[str, ...] = ()
        self.abilities: tuple[Ability, ...] = ()  # it is only trained

    def begin(self, progress: Progress) -> None:
        """Call the system's own `begin`, where it has one."""
        if isinstance(self.system, Remembers):
            self.system.begin(progress)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The self-critical loss in training; in evaluation the system's own losses, so that held-out losses stay
        comparable."""
        if not self.training:
            own: dict[str, Tensor] = self.system.losses(batch)
            return own
        if batch.image_ids is None:
            raise ValueError("a reward needs image_ids: which picture each row shows")
        drawn, better = self._practise(batch)
        texts = _tensors(self.system, drawn).to(batch.image_ids.device)
        log_p = self.system.logits(replace(batch, texts=texts))[:, :-1].float().log_softmax(-1)
        drawn_tokens = texts.mask[:, 1:].clone()
        drawn_tokens[:, : len(prompt_of(self.system))] = False
        likely = (log_p.gather(2, texts.ids[:, 1:, None])[..., 0] * drawn_tokens).sum(1)
        return {"self-critical": -(better * likely).mean()}

    @torch.no_grad()
    def _practise(self, batch: Batch) -> tuple[list[Written], Tensor]:
        """A sampled text for each row, and its advantage over the greedy text. Both are written in evaluation mode, without
        dropout."""
        assert batch.image_ids is not None
        self.system.eval()
        prompt = replace(batch, texts=None)
        prompt = self.system.encode_image(prompt) if isinstance(self.system, Sees) else prompt
        seeds = torch.randint(2**31, (len(batch.image_ids),)).tolist()
        plain: dict[str, Any] = dict(max_length=self.length, min_length=1)
        drawn = [
            one[0] for one in decode(self.system, prompt, Writing("nucleus", top_p=1.0, **plain), None, seeds)
        ]
        greedy = [one[0] for one in decode(self.system, prompt, Writing("greedy", **plain))]
        self.system.train()
        pictures = batch.image_ids.tolist()
        last = self.system.last_token
        paid = [self.reward(pictures, [_words(one, last) for one in texts]) for texts in (drawn, greedy)]
        better = torch.tensor(paid[0]) - torch.tensor(paid[1])
        return drawn, better.to(batch.image_ids.device, torch.float)


REWARDS: dict[str, Callable[[TextTable, Rows, Rows | None, int], Reward]] = {"cider": Cider.of}


def learner(system: Any, reward: str, loader: Any, length: int) -> Any:
    """The module to train: the system itself for the reward "none", else a SelfCritical on the texts of the loader.

    Mistake for an unknown reward, and for a system that does not write.
    """
    if reward == "none":
        return system
    if reward not in REWARDS:
        raise Mistake(f"There is no reward '{reward}'.", "", nearest(reward, ("none", *REWARDS)))
    if able(system, "caption") is None:
        raise Mistake("The system cannot learn by a reward.", "It does not write.", "Leave reward out.")
    before = 1 + len(prompt_of(system))
    return SelfCritical(system, REWARDS[reward](loader.texts, loader.rows, loader.ids, before), length)


def _spell(ids: Sequence[int]) -> str:
    """Token ids as a text for the metric, whose words are the ids."""
    return " ".join(map(str, ids))


def _words(one: Written, last: int) -> str:
    return _spell([*one.tokens, last] if one.ended else one.tokens)


def _tensors(system: Writes, texts: Sequence[Written]) -> Texts:
    """Texts as token ids, with the first token, the system's prompt and, where there is one, the end token."""
    begins = [system.first_token, *prompt_of(system)]
    rows = [[*begins, *one.tokens, *([system.last_token] if one.ended else [])] for one in texts]
    longest = max(map(len, rows))
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    return Texts(torch.tensor([row + [system.last_token] * (longest - len(row)) for row in rows]), mask)
