"""Any causal language model of transformers' library, with the interface of our own (causal.py).

Does not know: pictures, what is done between the layers, special tokens.

B rows, T positions, D width, V vocabulary.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from pairloom.blocks.attention import KeyValue
from pairloom.blocks.causal import Between, Past
from pairloom.errors import Mistake


class LibraryModel(nn.Module):
    """A causal language model of transformers, built from its config (JSON), and left as it is: `between` works through
    hooks. Raises Mistake where the library is not installed or the config is of no such model."""

    def __init__(self, config: str) -> None:
        super().__init__()
        library = transformers_library()
        settings = json.loads(config)
        try:
            kind = library.AutoConfig.for_model(**settings)
            self.model = library.AutoModelForCausalLM.from_config(kind)
        except (ValueError, TypeError, KeyError) as error:
            raise Mistake(
                f"transformers has no causal language model for '{settings.get('model_type', '?')}'.",
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
        lists = [part for part in self.model.modules() if isinstance(part, nn.ModuleList)]
        return max(lists, key=len)

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
        cache = transformers_library().DynamicCache()
        for row in past or ():
            layer = transformers_library().cache_utils.DynamicLayer()
            layer.lazy_initialization(row.keys, row.values)
            layer.keys, layer.values = row.keys, row.values  # `update` would copy them
            cache.layers.append(layer)
        self.between = between
        try:
            output = self.model(inputs_embeds=x, use_cache=True, **{self.cache_argument: cache})
        finally:
            self.between = None
        last, self.last = self.last, None
        assert last is not None
        return output.logits, last, [KeyValue(layer.keys, layer.values) for layer in cache.layers]


def transformers_library(user: str = "This language model") -> Any:
    """The library itself. Mistake, on behalf of its user, where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise Mistake(
            f"{user} needs transformers.",
            "It is not installed.",
            "pip install 'pairloom[diffusion]', or take the language model of pairloom's own.",
        ) from error
    return transformers
