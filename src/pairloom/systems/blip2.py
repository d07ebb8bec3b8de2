"""BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models (Li et al., 2023, arXiv
2301.12597): a querying transformer reads a picture by learned queries, which share self-attention with a text but have
cross-attention and feed-forward parts of their own. This is its first stage, without a language model.

Prose and deviations: docs/papers/blip2.md.

B texts, I pictures, N pictures per row, S rows of a picture, T tokens, Q queries, C width of the image tower, D width of the
querying transformer, E shared embedding, K texts of all processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pairloom.abilities import MATCH, Ability
from pairloom.blocks.cross import CrossKeyValues
from pairloom.blocks.embed import TextEmbed
from pairloom.blocks.gather import first_row, gather_pairs, mean_of_all, pair_up
from pairloom.blocks.masks import padding
from pairloom.blocks.transformer import ModeSharing, Stack, TransformerConfig, initialise
from pairloom.blocks.vision import VisionTower
from pairloom.data.batch import Batch
from pairloom.objectives.contrast import same_picture
from pairloom.objectives.match import hard_negatives, match_loss

SIMILARITY = Ability("similarity", by="best cosine")
WORDS, QUERIES = 0, 1  # the feed-forward parts of a block


@dataclass(frozen=True)
class Config:
    """The first stage with a ViT-g/14 of EVA-CLIP (section 3.2 and the released code).

    queries: learned rows that read a picture. every: a layer of so many has cross-attention. frozen: the image tower does not
    learn. length: tokens that a text may have; positions: of the learned table. itc, itm: weights of the losses (0: not
    computed, and the model is not asked for that score).
    """

    image_size: int = 224
    patch: int = 14
    image_width: int = 1408
    image_depth: int = 39
    image_heads: int = 16
    image_growth: float = 6144 / 1408
    frozen: bool = True
    vocabulary: int = 30524
    length: int = 32
    positions: int = 512
    width: int = 768
    depth: int = 12
    heads: int = 12
    growth: float = 4.0
    dropout: float = 0.1
    queries: int = 32
    every: int = 2
    embedding: int = 256
    pad: int = 0
    cls: int = 101
    sep: int = 102
    temperature: float = 0.07
    itc: float = 1.0
    itm: float = 1.0


TINY = Config(
    image_size=32, patch=8, image_width=32, image_depth=2, image_heads=2, image_growth=4.0, frozen=False, vocabulary=64,
    length=12, positions=16, width=32, depth=2, heads=2, dropout=0.0, queries=4, embedding=16, cls=2, sep=3,
)  # fmt: skip
PRESETS: dict[str, Config] = {
    "base": Config(),
    "coco": Config(image_size=364),
    "ViT-L": Config(image_width=1024, image_depth=23, image_growth=4.0),
    "tiny": TINY,
}
RECIPES: dict[str, dict[str, object]] = {
    "base": dict(
        batch=1680, steps=250_000, lr=1e-4, min_lr=5e-5, warmup=2000, schedule="cosine", weight_decay=0.05,
        betas=(0.9, 0.98), clip=0.0,
    ),
}  # fmt: skip
CLEAN = "blip2"  # how texts are cleaned: LAVIS's pre_caption, 50 words


def example(config: Config, generator: torch.Generator) -> Batch:
    """Six random pairs."""
    from pairloom.data.random_batch import random_pairs

    return random_pairs(config, generator)


@dataclass
class QueriedImages:
    """What is known of pictures: the keys and values of their rows, and the embeddings of their queries [I Q E]."""

    context: CrossKeyValues
    parts: Tensor


class QFormer(Stack):
    """Querying transformer: rows of queries and of a text attend to each other; the queries alone read a context, in a layer
    of `every`, and have their own feed-forward parts."""

    def __init__(self, c: Config) -> None:
        shape = TransformerConfig(
            c.width, c.depth, c.heads, "post", 1e-12, c.dropout, context=c.image_width, growth=c.growth
        )
        super().__init__(shape, ModeSharing(cross=1, feed=2))
        for index, layer in enumerate(self.layers):
            if index % c.every:
                layer.cross = nn.ModuleList()

    def read(self, rows: Float[Tensor, "I S C"]) -> CrossKeyValues:
        """What the queries read of pictures: one projection for each layer with cross-attention."""
        return CrossKeyValues([layer.cross[0].fn.project(rows) for layer in self.layers if len(layer.cross)])

    def forward(  # type: ignore[override]
        self,
        queries: Float[Tensor, "B Q D"],
        words: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B QT"],
        context: CrossKeyValues | None,
    ) -> tuple[Float[Tensor, "B Q D"], Float[Tensor, "B T D"]]:
        """Either may have no rows; without queries no context is read. mask: of both, True = real."""
        count, reading = queries.shape[1], iter(context.layers if context is not None else ())
        for layer in self.layers:
            x = layer.attend[0](torch.cat([queries, words], 1), None, padding(mask))
            queries, words = x[:, :count], x[:, count:]
            if count:
                if context is not None and len(layer.cross):
                    queries = layer.cross[0](queries, next(reading), None, context.readers)
                queries = layer.feed[QUERIES](queries)
            if words.shape[1]:
                words = layer.feed[WORDS](words)
        return queries, words


class System(nn.Module):
    """BLIP-2's first stage. The count of batches is training state."""

    training_state = ("batches",)
    trains_on = ("pairs",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        if c.queries < 1 or c.every < 1:
            raise ValueError("the picture is read by no query, or in no layer")
        shape = TransformerConfig(
            c.image_width, c.image_depth, c.image_heads, "pre", 1e-6, growth=c.image_growth
        )
        self.image = VisionTower(shape, c.image_size, c.patch)
        self.queries = nn.Parameter(torch.zeros(1, c.queries, c.width))
        self.embed = TextEmbed(c.vocabulary, c.positions, c.width, None, 0.0)
        self.norm, self.dropout = nn.LayerNorm(c.width, eps=1e-12), nn.Dropout(c.dropout)
        self.qformer = QFormer(c)
        self.image_projection = nn.Linear(c.width, c.embedding)
        self.text_projection = nn.Linear(c.width, c.embedding)
        self.match_head = nn.Linear(c.width, 2)
        self.temperature = nn.Parameter(torch.tensor(c.temperature))
        initialise(self)
        nn.init.normal_(self.queries, std=0.02)
        self.image.requires_grad_(not c.frozen)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @property
    def abilities(self) -> tuple[Ability, ...]:
        """Those whose loss has a weight."""
        weights = {MATCH: self.config.itm, SIMILARITY: self.config.itc}
        return tuple(ability for ability, weight in weights.items() if weight > 0)

    def encode_image(self, batch: Batch) -> Batch:
        """Encode the pictures [I N 3 X Y], once; the queries read all rows of the N pictures of a row."""
        if batch.encoded is not None:
            return batch
        images = batch.required("images")
        rows = self.image(images.flatten(0, 1)).unflatten(0, images.shape[:2]).flatten(1, 2)
        context = self.qformer.read(rows)
        queries = self._normed(self.queries.expand(len(rows), -1, -1))
        mask = torch.ones(queries.shape[:2], dtype=torch.bool, device=rows.device)
        queries, _ = self.qformer(queries, queries[:, :0], mask, context)
        parts = F.normalize(self.image_projection(queries), dim=-1)
        return replace(batch, encoded=QueriedImages(context, parts))

    def similarity(self, batch: Batch) -> Float[Tensor, " B"]:
        """The cosine of each text with the query of its picture that is nearest to it."""
        parts = self.encode_image(batch).encoded.parts
        owned = parts if batch.image_of is None else parts[batch.image_of]
        return (owned @ self._embed_text(*batch.text())[..., None])[..., 0].max(1).values

    def match(self, batch: Batch) -> Float[Tensor, " B"]:
        """Log-odds that text and picture belong together."""
        return self.match_logits(batch) @ torch.tensor([-1.0, 1.0], device=self.batches.device)

    def match_logits(self, batch: Batch) -> Float[Tensor, "B 2"]:
        """The two classes of the ITM head, averaged over the queries."""
        context = self.encode_image(batch).encoded.context
        if batch.image_of is not None:
            context = context.narrowed_to(batch.image_of)
        return self._ground(*batch.text(), context)

    def _normed(self, rows: Tensor) -> Tensor:
        return self.dropout(self.norm(rows))

    def _embed_text(self, tokens: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        words = self._normed(self.embed(tokens))
        _, words = self.qformer(words[:, :0], words, mask, None)
        return F.normalize(self.text_projection(words[:, 0]), dim=-1)

    def _ground(self, tokens: Tensor, mask: Tensor, context: CrossKeyValues) -> Float[Tensor, "B 2"]:
        queries = self._normed(self.queries.expand(len(tokens), -1, -1))
        both = torch.cat([torch.ones_like(mask[:, :1]).expand(-1, queries.shape[1]), mask], 1)
        queries, _ = self.qformer(queries, self._normed(self.embed(tokens)), both, context)
        return self.match_head(queries).mean(1).float()

    # learning

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """ITC and ITM, each times its weight. Without image_ids the pictures of the batch all count as different."""
        c, batch = self.config, self.encode_image(batch)
        tokens, mask = batch.text()
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
        text = self._embed_text(tokens, mask)
        parts, ids = pair_up(batch.encoded.parts, len(text), batch.image_of, batch.image_ids)
        others, texts, columns = gather_pairs(parts, text, ids)
        to_text = (parts @ texts.T).max(1).values.float() / self.temperature  # [B Q K] -> [B K]
        to_image = (others @ text.T).max(1).values.float().T / self.temperature
        targets = same_picture(ids, columns)
        contrast = (F.cross_entropy(to_text, targets) + F.cross_entropy(to_image, targets)) / 2
        values = {"itc": c.itc * contrast} if c.itc else {}
        if c.itm:
            mine = slice(first_row(len(ids)), first_row(len(ids)) + len(ids))
            values["itm"] = c.itm * self._match(batch, ids, to_text[:, mine], to_image[:, mine])
        self.batches += self.training
        return values

    def _match(
        self,
        batch: Batch,
        ids: Int[Tensor, " B"],
        to_text: Float[Tensor, "B B"],
        to_image: Float[Tensor, "B B"],
    ) -> Tensor:
        """Each pair, its picture with a wrong text, its text with a wrong picture; wrong ones drawn where they are hard."""
        tokens, mask = batch.text()
        rows = torch.arange(len(tokens), device=tokens.device)
        owner = rows if batch.image_of is None else batch.image_of
        generator = torch.Generator(tokens.device).manual_seed(int(self.batches))
        allowed = ids[:, None] != ids
        wrong_text, exists = hard_negatives(to_text, allowed, generator)
        wrong_image, _ = hard_negatives(to_image, allowed, generator)
        both, context = torch.cat([rows, wrong_text]), batch.encoded.context
        right = self._ground(tokens[both], mask[both], context.read_by(torch.cat([owner, owner])))
        other = self._ground(tokens, mask, context.select(owner[wrong_image]))
        logits = torch.cat([right, other])
        together = torch.arange(len(logits), device=logits.device) < len(rows)
        counts = torch.cat([torch.ones_like(exists), exists, exists])
        return mean_of_all(*match_loss(logits, together.long(), counts))
