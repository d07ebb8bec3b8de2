"""Show and Tell: A Neural Image Caption Generator (Vinyals et al., 2015, arXiv 1411.4555): a picture is the first word that
an LSTM reads, and then the LSTM writes.

Prose, tables and deviations: docs/papers/show_and_tell.md.

B texts, I pictures, N pictures per row, T tokens, C channels of the encoder's last map, D width of the LSTM, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.abilities import CAPTION, Progress
from pairloom.blocks.encoder import Encoder, Network
from pairloom.blocks.recurrent import Recurrent, scheduled_sampling
from pairloom.data.batch import Batch
from pairloom.objectives.language import caption_cost


@dataclass(frozen=True)
class Config:
    """Sizes of the authors' later implementation (im2txt): Inception v3 at 299 px; the paper had GoogLeNet with batch
    norms (preset "googlenet").

    tune: the encoder is trained too; otherwise it is frozen. patch, image_width: of the "residual" encoder, ours, for sets
    too small for the published ones. dropout: before and after the LSTM. sampling: scheduled sampling (Bengio et al., 2015),
    the probability that the LSTM reads its own word in training, reached over `ramp` epochs.
    """

    image_size: int = 299
    encoder: Network = "inception_v3"
    patch: int = 16
    image_width: int = 512
    tune: bool = False
    vocabulary: int = 12000
    length: int = 30
    width: int = 512
    dropout: float = 0.3
    pad: int = 0
    cls: int = 2
    sep: int = 3
    sampling: float = 0.0
    ramp: float = 20.0


TINY = Config(
    image_size=32, encoder="residual", patch=8, image_width=32, tune=True, vocabulary=64, length=12, width=32, dropout=0.0,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "googlenet": Config(image_size=224, encoder="googlenet"),
    "tiny": TINY,
    "small": Config(image_size=112, encoder="residual", patch=8, image_width=128, tune=True, width=256),
}
_TOGETHER = dict(batch=32, clip=5.0, weight_decay=0.0, warmup=0, min_lr=0.0)
RECIPES: dict[str, dict[str, object]] = {
    # im2txt: SGD at 2.0, halved every 8 epochs, 1 M steps with the encoder frozen; then 2 M more at 5e-4, all of it
    "frozen": dict(_TOGETHER, lr=1e-3, steps=1_000_000, schedule="exponential", decay=0.5 ** (1 / 8)),
    "tuned": dict(_TOGETHER, lr=1e-5, steps=2_000_000, schedule="constant"),
}


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


class System(nn.Module):
    """Show and Tell. `encoded` is the vectors of the pictures [I C]."""

    training_state = ()
    abilities = (CAPTION,)
    trains_on = ("pairs",)
    image_network = ("map", "encoder")

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.first_token, self.last_token = c.cls, c.sep
        self.encoder = Encoder(c.encoder, not c.tune, c.patch, c.image_width)
        self.image = nn.Linear(self.encoder.width, c.width)
        self.words = nn.Embedding(c.vocabulary, c.width)
        self.lstm = nn.LSTM(c.width, c.width, batch_first=True)
        self.head = nn.Linear(c.width, c.vocabulary)
        self.dropout = nn.Dropout(c.dropout)
        self.progress = 0.0
        for part in (self.image, self.words, self.lstm, self.head):  # as im2txt
            for parameter in part.parameters():
                nn.init.uniform_(parameter, -0.08, 0.08)

    def begin(self, progress: Progress) -> None:
        """Set the probability of scheduled sampling, before each optimiser step."""
        self.progress = progress.epoch

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once: the mean of the last map, averaged over N."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        vectors = self.encoder(images.flatten(0, 1)).mean((2, 3))
        return replace(batch, encoded=vectors.unflatten(0, images.shape[:2]).mean(1))

    def start(self, batch: Batch) -> Recurrent:
        """State of the LSTM after it has read x_-1 = W CNN(I): the picture, as if it were a word. The output of that step is
        not used."""
        encoded: Tensor = self.encode_image(batch).encoded
        x = self.image(encoded if batch.image_of is None else encoded[batch.image_of])
        _, (hidden, cell) = self.lstm(self.dropout(x)[:, None])
        return Recurrent(hidden[0], cell[0])

    def step(self, state: Recurrent, tokens: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Recurrent]:
        logits, state = self._read(state, tokens[:, None])
        return logits[:, 0], state

    def logits(self, batch: Batch) -> Float[Tensor, "B T V"]:
        return self._read(self.start(batch), batch.text()[0])[0]

    def _read(self, state: Recurrent, tokens: Tensor) -> tuple[Tensor, Recurrent]:
        x = self.dropout(self.words(tokens))
        rows, (hidden, cell) = self.lstm(x, (state.hidden[None], state.cell[None]))
        return self.head(self.dropout(rows)), replace(state, hidden=hidden[0], cell=cell[0])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Negative log-likelihood of each text, - sum_t log p_t(S_t) (eq. 13), averaged over the texts."""
        c, texts, batch = self.config, batch.required("texts"), self.encode_image(batch)
        chance = c.sampling * min(1.0, self.progress / c.ramp) if self.training else 0.0
        read = replace(texts, ids=scheduled_sampling(self, batch, chance))
        logits = self.logits(replace(batch, texts=read))
        return {"caption": caption_cost(logits, texts.ids, texts.mask).mean()}
