"""Show, Attend and Tell: Neural Image Caption Generation with Visual Attention (Xu et al., 2015, arXiv 1502.03044): an LSTM
attends to the cells of a picture anew for every word, to all of them (soft) or to one that is drawn (hard).

Prose, tables and deviations: docs/papers/show_attend_tell.md.

B texts, I pictures, N pictures per row, P cells of a row's pictures, C width of a cell, D width of the LSTM, W of a word,
T tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, Progress
from pairloom.blocks.encoder import Encoder, Network
from pairloom.blocks.gather import gather_rows
from pairloom.blocks.recurrent import AdditiveAttention, Recurrent, one_hot, scheduled_sampling
from pairloom.data.batch import Batch
from pairloom.objectives.attend import entropy, reinforce, spread
from pairloom.objectives.language import caption_cost


@dataclass(frozen=True)
class Config:
    """Sizes of the released COCO script, with VGG-19's conv5_4 at 224 px: 14 x 14 cells of 512.

    grid: cells of a side; a map of another side is averaged or repeated to it. tune: the encoder is trained too (the
    paper's is not). patch, image_width: of the "residual" encoder, ours, for small sets. word: width of a word's embedding;
    layers: of the MLPs before the attention and before the first state. dropout: before and after the deep output and
    inside the first state. penalty: lambda of eq. 14.
    mode "hard": reinforce, entropy: lambda_r and lambda_e of section 4.1; drawn: share of the batches in which a cell is
    drawn; the other batches use soft attention. peak: to write, attend to the likeliest cell alone instead of to all.
    sampling, ramp: scheduled sampling, as in show_and_tell.py.
    """

    image_size: int = 224
    encoder: Network = "vgg19"
    patch: int = 16
    image_width: int = 512
    tune: bool = False
    grid: int = 14
    vocabulary: int = 10000
    length: int = 30
    word: int = 512
    width: int = 1800
    layers: int = 2
    dropout: float = 0.5
    mode: Literal["soft", "hard"] = "soft"
    penalty: float = 1.0
    reinforce: float = 0.1
    entropy: float = 0.002
    drawn: float = 0.5
    peak: bool = False
    pad: int = 0
    cls: int = 2
    sep: int = 3
    sampling: float = 0.0
    ramp: float = 20.0


TINY = Config(
    image_size=32, encoder="residual", patch=8, image_width=32, tune=True, grid=4, vocabulary=64, length=12, word=24,
    width=32, dropout=0.0,
)  # fmt: skip
SMALL = Config(
    image_size=112, encoder="residual", patch=8, image_width=128, tune=True, word=128, width=256, layers=1
)
PRESETS: dict[str, Config] = {
    "base": Config(),
    "hard": Config(mode="hard"),
    "tiny": TINY,
    "small": SMALL,
    "small-hard": replace(SMALL, mode="hard"),
}
_ADAM = dict(
    lr=2e-4, batch=64, weight_decay=0.0, clip=0.0, schedule="constant", warmup=0, min_lr=0.0, epochs=50
)
RECIPES: dict[str, dict[str, object]] = {"base": _ADAM, "hard": _ADAM}


class Look(NamedTuple):
    """One step: the state after it, the gated context z [B C], and the log-probability [B] of the cell that was drawn."""

    state: Recurrent
    context: Tensor
    chosen: Tensor


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """Show, Attend and Tell. `encoded` is the annotations of the pictures [I P C] and their projection for the attention."""

    training_state = ("baseline",)
    abilities = (CAPTION,)
    trains_on = ("pairs",)
    image_network = ("map", "encoder")

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.encoder = Encoder(c.encoder, not c.tune, c.patch, c.image_width)
        cell = self.encoder.width
        maps: list[nn.Module] = []
        for _ in range(c.layers - 1):
            maps += [nn.Linear(cell, cell), nn.ReLU(), nn.Dropout(c.dropout)]
        self.mean = nn.Sequential(*maps)
        self.first_hidden, self.first_cell = nn.Linear(cell, c.width), nn.Linear(cell, c.width)
        self.attend = AdditiveAttention(cell, c.width, cell, c.layers)
        self.gate = nn.Linear(c.width, 1)
        self.words = nn.Embedding(c.vocabulary, c.word)
        self.lstm = nn.LSTMCell(c.word + cell, c.width)
        self.from_hidden, self.from_context = nn.Linear(c.width, c.word), nn.Linear(cell, c.word)
        self.head = nn.Linear(c.word, c.vocabulary)
        self.dropout = nn.Dropout(c.dropout)
        self.register_buffer("baseline", torch.zeros(()))
        self.progress = 0.0

    def begin(self, progress: Progress) -> None:
        """Set the probability of scheduled sampling, before each optimiser step."""
        self.progress = progress.epoch

    # encoding

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once: the cells of a row's N pictures one after the other."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        cells = self.encoder(images.flatten(0, 1))
        if cells.shape[-1] != self.config.grid:
            cells = F.adaptive_avg_pool2d(cells, self.config.grid)
        rows = cells.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2]).flatten(1, 2)
        return replace(batch, encoded=(rows, self.attend.project(rows)))

    def start(self, batch: Batch) -> Recurrent:
        """Initial state of the LSTM: h_0 and c_0 = tanh(MLP(mean annotation)) (section 3.1.2)."""
        encoded = self.encode_image(batch).encoded
        mean = self.mean(encoded[0].mean(1))
        hidden, cell = torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean))
        begun = Recurrent(hidden, cell, encoded)
        return begun if batch.image_of is None else begun.select(batch.image_of)

    def _look(self, state: Recurrent, words: Tensor, mode: Literal["all", "peak", "drawn"] = "all") -> Look:
        """Eq. 1 to 6 and 8, and the gate of section 4.2.1. "all": the cells by their shares (eq. 13)."""
        cells, projected = state.read()
        shares = self.attend(projected, state.hidden)
        weights, chosen = shares, torch.zeros_like(shares[:, 0])
        if mode != "all":
            at = shares.argmax(1) if mode == "peak" else torch.multinomial(shares.detach(), 1)[:, 0]
            weights = one_hot(at, shares)
            chosen = shares.gather(1, at[:, None])[:, 0].clamp_min(1e-12).log()
        gate = torch.sigmoid(self.gate(state.hidden))
        context = gate * torch.einsum("bp,bpc->bc", weights, cells)
        hidden, cell = self.lstm(torch.cat([words, context], 1), (state.hidden, state.cell))
        encoded = weights if mode == "peak" else shares
        return Look(replace(state, hidden=hidden, cell=cell, attention=encoded), context, chosen)

    # writing

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embedding E y of the last word; zeros before the first word."""
        return self.words(tokens) * (tokens != self.first_token)[..., None]

    def _say(self, words: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Deep output (eq. 7): L_o (E y + L_h h + L_z z), with the tanh and the dropouts of the released code."""
        sums = words + self.from_hidden(self.dropout(hidden)) + self.from_context(context)
        return self.head(self.dropout(torch.tanh(sums)))

    def step(self, state: Recurrent, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Recurrent]:
        """Logits of the next token; the new state holds the attention of the step."""
        words = self._embed(tokens)
        look = self._look(state, words, "peak" if self.config.peak else "all")
        return self._say(words, look.state.hidden, look.context), look.state

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        return self._write(batch, "peak" if self.config.peak else "all")[0]

    def _write(
        self, batch: Batch, mode: Literal["all", "peak", "drawn"]
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T P"], Float[Tensor, "B T"]]:
        """Teacher-forced: logits, shares of the cells, log-probability of the drawn ones."""
        words, state = self._embed(batch.text()[0]), self.start(batch)
        looks = []
        for at in range(words.shape[1]):
            looks.append(self._look(state, words[:, at], mode))
            state = looks[-1].state
        hidden, context = (
            torch.stack(rows, 1)
            for rows in ([look.state.hidden for look in looks], [look.context for look in looks])
        )
        shares = torch.stack([_present(look.state.attention) for look in looks], 1)
        return self._say(words, hidden, context), shares, torch.stack([look.chosen for look in looks], 1)

    # training

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Negative log-likelihood and attention penalty of each text (eq. 14), averaged over the texts; in the hard mode also
        the entropy and, where cells were drawn, REINFORCE (section 4.1). In evaluation nothing is drawn."""
        c, texts, batch = self.config, batch.required("texts"), self.encode_image(batch)
        drawn = c.mode == "hard" and self.training and float(torch.rand(())) < c.drawn
        chance = c.sampling * min(1.0, self.progress / c.ramp) if self.training else 0.0
        fed = replace(batch, texts=replace(texts, ids=scheduled_sampling(self, batch, chance)))
        logits, shares, chosen = self._write(fed, "drawn" if drawn else "all")
        cost, wrote = caption_cost(logits, texts.ids, texts.mask), texts.mask[:, 1:]
        values = {"caption": cost.mean()}
        if c.penalty:
            values["spread"] = c.penalty * spread(shares[:, :-1], wrote).mean()
        if c.mode == "hard":
            values["entropy"] = -c.entropy * entropy(shares[:, :-1], wrote).mean()
            # zero where nothing was drawn, but present, so that processes with different draws log the same names
            paid = reinforce(cost, self.baseline, (chosen[:, :-1] * wrote).sum(1))
            values["reinforce"] = c.reinforce * paid.mean()
            self._remember(cost.detach())
        return values

    @torch.no_grad()
    def _remember(self, cost: Tensor) -> None:
        """Moving baseline of REINFORCE: b <- 0.9 b + 0.1 mean cost."""
        if self.training:
            self.baseline.lerp_(gather_rows(cost).mean(), 0.1)


def _present(value: Any) -> Tensor:
    if value is None:
        raise ValueError("this verb needs pictures and texts that the batch does not have")
    return value
