"""Initial models of a run: random, with published weights in some parts, or with the weights of another model.

A system's file may define for this, beside its Config and System:
    STARTS     name of another system -> function(its tensors, config) -> tensors under the names of this system
    INHERITS   settings that are copied from the config of such a system
    CLEAN      how texts are cleaned in its recipe, a name of data/normalisers.py; without it a tokenizer stays as it is
    System.heads  prefixes of heads that a model of one task has and one of another has not: they are left out, or initialised
    System.added(before: Config) -> prefixes of the parameters that a model of that config lacks; they are initialised
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pairloom import registry
from pairloom.blocks.tensors import put_shared, put_tensors, tensors_of
from pairloom.config import override
from pairloom.data.feed import Feed
from pairloom.data.index import ImageIndex
from pairloom.data.normalisers import clean_first
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.frozen import TowerPixels, build_on_tower, demand_on_tower, keep_tower, learn_rows
from pairloom.model import Model, at_size, build
from pairloom.model.builder import demand_prompt, feed_of
from pairloom.model.generation import with_prompt
from pairloom.train.order import TrainRequest
from pairloom.verbs import parts_of
from pairloom.weights import load
from pairloom.weights.exchange import with_part


def demand_start(request: TrainRequest) -> None:
    """Raise Mistake where the system cannot stand on the request's tower, or the request has more than that."""
    if request.tower is None:
        return
    demand_on_tower(request.name)
    if request.init is not None or request.of("pixels"):
        raise Mistake(
            "A model on a frozen tower is new, and reads the tower's own pixels.",
            "",
            f"Leave out {'--init' if request.init is not None else 'pixels.KEY=VALUE'}.",
        )


def named_model(request: TrainRequest) -> Model | None:
    """The model that `init` names; None where it names none, or files for parts.

    Mistake where the part to train builds on a part that was not trained.
    """
    begun = load(request.init) if request.init is not None and not _files(request) else None
    parts = list(parts_of(request.module.System))
    trained = begun.about.get("parts", ()) if begun is not None and begun.name == request.name else ()
    for part in parts[: parts.index(request.part)]:
        if part not in trained:
            raise Mistake(
                f"{request.system} builds on {request.name}:{part}, which was not trained yet.",
                f"{request.init} is a model without it."
                if begun is not None
                else "No trained model was named.",
                f"First: pairloom train {request.name}:{part} ... --out DIR; then give --init DIR here.",
            )
    return begun


def fresh_model(request: TrainRequest, tokens: Tokens, seed: int, index: Any = None) -> Model:
    """A new model, initialised by the seed; parts for which `init` names files have these weights. index: of the set, whose
    pictures are read where the model stands on a tower."""
    if request.tower is not None:
        return _on_tower(request, request.tower, tokens, seed, index)
    model = build(request.name, tokens, request.preset, request.of("model"), seed)
    for part, file in _files(request).items():
        model = with_part(model, part, file)
    return _fitting(replace(model, feed=_cropped(model.feed)), request)


def _on_tower(request: TrainRequest, tower: str, tokens: Tokens, seed: int, index: Any) -> Model:
    """A new model on a frozen tower, whose axes are learnt from the set."""
    if not isinstance(index, ImageIndex):
        raise Mistake(f"A tower cannot be used for {request.name}.", "It is trained on more than pairs.")
    config = override(request.module.PRESETS.get(request.preset, request.module.TINY), request.of("model"))
    rows = learn_rows(tower, config.image_width, index, seed, None if request.dry_run else request.out)
    return build_on_tower(request.name, tokens, rows, request.preset, request.of("model"), seed)


def started_model(request: TrainRequest, begun: Model, seed: int) -> Model:
    """A model with the weights of another one as its start: of the same system, or of one in its STARTS."""
    module, about = request.module, {"init": str(request.init)}
    if begun.name == request.name:
        model = with_config(begun, override(begun.config, request.of("model")), seed)
        kept = {"parts": begun.about["parts"]} if "parts" in begun.about else {}
        return _fitting(replace(model, about={**about, **kept}), request)
    starts = getattr(module, "STARTS", {})
    if begun.name not in starts:
        others = f" It can begin as a {' or a '.join(starts)}." if starts else ""
        raise Mistake(
            f"{request.init} is a {begun.name}, not a {request.name}.",
            others,
            f"pairloom train {begun.name} ...",
        )
    known = {entry.name for entry in fields(module.Config)}
    sizes = [
        f"{name}={getattr(begun.config, name)}"
        for name in getattr(module, "INHERITS", ())
        if name in known and hasattr(begun.config, name)
    ]
    model = build(
        request.name, _cleaned(begun.tokens, module), request.preset, [*sizes, *request.of("model")], seed
    )
    begun = at_size(begun, model.config.image_size)
    fresh = put_shared(model.system, starts[begun.name](tensors_of(begun.system), model.config))
    about["begun afresh"] = ", ".join(fresh) or "nothing"
    return _fitting(replace(model, feed=_cropped(begun.feed), about=about), request)


def _cleaned(tokens: Tokens, module: Any) -> Tokens:
    """The tokenizer with the cleaning of this system's recipe in place of another's."""
    if not hasattr(module, "CLEAN"):
        return tokens
    tokenizer = Tokenizer.from_str(tokens.tokenizer.to_str())
    clean_first(tokenizer, module.CLEAN)
    return Tokens(tokenizer, tokens.prompt)


def with_config(model: Model, config: Any, seed: int = 0) -> Model:
    """A model with the same weights under another config. Parts that the config adds (System.added, System.heads) are initialised
    by the seed.

    Mistake where the weights do not fit.
    """
    demand_prompt(config, model.tokens)
    config, tokens = with_prompt(config, model.tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = registry.find("systems", model.name).System(config)
    keep_tower(model.system, system)
    drop = tuple(getattr(system, "training_state", ()))
    added = tuple(system.added(model.config)) if hasattr(system, "added") else ()
    heads = tuple(getattr(system, "heads", ()))
    put_tensors(
        system, _fitting_heads(system, tensors_of(model.system, drop), heads), (*drop, *added, *heads)
    )
    return replace(model, system=system.to(model.device), tokens=tokens)


def _fitting_heads(system: Any, tensors: dict[str, Tensor], heads: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors without those of heads that the system has not, or has in another shape."""
    own = system.state_dict()
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(heads) or (name in own and own[name].shape == tensor.shape)
    }


def _files(request: TrainRequest) -> dict[str, Path]:
    """Files for parts, PART=FILE, where `init` has this form and is no path."""
    words = re.split(r",(?=\w+=)", str(request.init or ""))
    if request.init is None or request.init.exists() or "=" not in words[0]:
        return {}
    return {part: Path(file) for part, _, file in (word.partition("=") for word in words)}


def _cropped(feed: Feed) -> Feed:
    """The transform with random crops in training: the system's own, or BLIP's; a tower's pixels, and what is no pixels, as they
    are."""
    if isinstance(feed, TowerPixels) or not isinstance(feed, Transform):
        return feed
    return replace(feed, crop_scale=feed.crop_scale or (0.5, 1.0))


def _fitting(model: Model, request: TrainRequest) -> Model:
    """The model with the request's pixel settings. Mistake where sizes do not fit together."""
    if getattr(model.config, "length", 3) < 3:
        raise Mistake(
            "model.length leaves no text.", "It counts the first and the last token.", "Give 3 or more."
        )
    if not isinstance(model.feed, Transform) and not request.of("pixels"):
        return replace(model, feed=feed_of(request.module, model.config))
    pixels = override(model.pixels, request.of("pixels"))
    side = getattr(model.config, "image_size", pixels.size)
    if pixels.size != side:
        raise Mistake(
            f"pixels.size={pixels.size} does not fit.", f"The model reads {side} px.", "Set model.image_size."
        )
    return replace(model, feed=pixels)
