"""Causal language models that let somebody work between their layers: one of our own, and any of transformers' library.

Both read embedded rows, after the rows of a past, and hand out logits, their last rows and the grown past. `between(index,
x)` is asked before each layer and gives the rows that go on; without it the model is a plain language model.
Does not know: pictures, what is done between the layers, special tokens.

B rows, T positions, S positions of the past, D width, V vocabulary.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.masks import later
from pairloom.blocks.transformer import Stack, TransformerConfig, initialise_scaled
from pairloom.errors import Mistake

Between = Callable[[int, Tensor], Tensor]
Past = list[KeyValue]


def sinusoidal_positions(count: int, width: int) -> Float[Tensor, "T D"]:
    """Sines, then cosines, of a place at speeds from 1 down to a ten-thousandth (Vaswani et al., 2017, section 3.5)."""
    speeds = 10_000.0 ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(count)[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]


class LanguageModel(nn.Module):
    """A pre-norm causal transformer with learned positions and the word table as its head (Radford et al., 2019). Positions
    begin as sines: a token then learns to find its neighbour in hundreds of steps."""

    def __init__(self, shape: TransformerConfig, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.width, self.depth, self.vocabulary, self.positions = (
            shape.width,
            shape.depth,
            vocabulary,
            positions,
        )
        self.words = nn.Embedding(vocabulary, shape.width)
        self.places = nn.Embedding(positions, shape.width)
        self.stack = Stack(shape)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        initialise_scaled(self.stack)
        nn.init.normal_(self.words.weight, std=shape.width**-0.5)
        self.places.weight.data = sinusoidal_positions(positions, shape.width) * shape.width**-0.5

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The words alone: positions follow in `read`."""
        return self.words(tokens)

    def read(
        self,
        x: Float[Tensor, "B T D"],
        past: Sequence[KeyValue] | None = None,
        between: Between | None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T D"], Past]:
        """Raises ValueError past the last learned position."""
        old, new = past[0].keys.shape[2] if past else 0, x.shape[1]
        if old + new > self.positions:
            raise ValueError(f"a text of {old + new} tokens is longer than the {self.positions} positions")
        x = x + self.places.weight[old : old + new]
        mask = None if new == 1 else later(new, old, x.device)
        grown = []
        for index, layer in enumerate(self.stack.layers):
            x = between(index, x) if between else x
            x, row = layer.step(x, past[index] if past else None, mask=mask)
            grown.append(row)
        x = self.norm(x)
        return F.linear(x, self.words.weight), x, grown


class LibraryModel(nn.Module):
    """A causal language model of transformers, built from its config (JSON), and left as it is: `between` works through
    hooks. Raises Mistake where the library is not installed or the config is of no such model."""

    def __init__(self, config: str) -> None:
        super().__init__()
        library = _library()
        told = json.loads(config)
        try:
            kind = library.AutoConfig.for_model(**told)
            self.model = library.AutoModelForCausalLM.from_config(kind)
        except (ValueError, TypeError, KeyError) as error:
            raise Mistake(
                f"transformers has no causal language model for '{told.get('model_type', '?')}'.",
                str(error).split("\n")[0],
                "Name a folder of GPT-2, OPT, GPT-NeoX, LLaMA, MPT ...",
            ) from error
        words = self.model.get_input_embeddings().weight
        self.vocabulary, self.width = words.shape
        self.positions = int(
            getattr(kind, "max_position_embeddings", 0) or getattr(kind, "max_seq_len", 0) or 1 << 20
        )
        # transformers 5.24 renamed the argument
        takes = inspect.signature(self.model.forward).parameters
        self.cache_argument = "cache" if "cache" in takes else "past_key_values"
        self.between: Between | None = None
        self.last: Tensor | None = None
        for index, layer in enumerate(self._layers()):
            layer.register_forward_pre_hook(self._hook(index), with_kwargs=True)
        self.model.get_output_embeddings().register_forward_pre_hook(self._keep)

    def _layers(self) -> nn.ModuleList:
        """The longest list of equal layers: what every decoder of the library has one of."""
        found = [part for part in self.model.modules() if isinstance(part, nn.ModuleList)]
        return max(found, key=len)

    @property
    def depth(self) -> int:
        return len(self._layers())

    def _hook(self, index: int) -> Callable[..., Any]:
        def before(layer: nn.Module, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
            if self.between is None:
                return None
            if args:
                return (self.between(index, args[0]), *args[1:]), more
            return args, {**more, "hidden_states": self.between(index, more["hidden_states"])}

        return before

    def _keep(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        self.last = args[0]

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self.model.get_input_embeddings()(tokens)

    def read(
        self,
        x: Float[Tensor, "B T D"],
        past: Sequence[KeyValue] | None = None,
        between: Between | None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T D"], Past]:
        cache = _library().DynamicCache()
        for row in past or ():
            layer = _library().cache_utils.DynamicLayer()
            layer.lazy_initialization(row.keys, row.values)
            layer.keys, layer.values = row.keys, row.values  # `update` would copy them
            cache.layers.append(layer)
        self.between = between
        try:
            said = self.model(inputs_embeds=x, use_cache=True, **{self.cache_argument: cache})
        finally:
            self.between = None
        last, self.last = self.last, None
        assert last is not None
        return said.logits, last, [KeyValue(layer.keys, layer.values) for layer in cache.layers]


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise Mistake(
            "This language model needs transformers.",
            "It is not installed.",
            "pip install 'pairloom[diffusion]', or take the language model of pairloom's own.",
        ) from error
    return transformers
