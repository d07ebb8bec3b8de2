"""Build a Model: a preset of a system fitted to its tokens, or the weights of one at another size of picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch

from pairloom import registry
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.config import override
from pairloom.data.feed import Feed
from pairloom.data.roles import FROM_TOKENS
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake, nearest
from pairloom.model.generation import with_prompt
from pairloom.model.model import Model

ADDED = ("mask", "end", "image")  # roles that any vocabulary is given where a system needs them


def build(
    name: str, tokens: Tokens, preset: str = "base", settings: Iterable[str] = (), seed: int = 0
) -> Model:
    """A fresh model: a preset of a system, `key=value` settings over it, fitted to the tokens, initialised by seed.

    Raises Mistake for a system, preset or setting that there is not, and for numbers that do not go together.
    """
    module = registry.find("systems", name)
    if preset not in module.PRESETS:
        raise Mistake(f"{name} has no preset '{preset}'.", "", nearest(preset, module.PRESETS))
    settings = list(settings)
    config = override(module.PRESETS[preset], settings)
    needed = _roles_of(config).values()
    tokens = tokens.with_roles(*(role for role in ADDED if role in needed))
    lacking = [role for role in needed if role not in tokens.roles]
    if lacking:
        raise Mistake(
            f"{name} needs tokens that the tokenizer has not: {', '.join(lacking)}.",
            f"It has {', '.join(tokens.roles)}.",
            "Give a tokenizer like BERT's, or leave it out.",
        )
    demand_prompt(config, tokens)
    if hasattr(module, "named_tokens"):
        from pairloom.model.named_tokens import with_named_tokens

        chosen = {word.partition("=")[0] for word in settings}
        config, tokens = with_named_tokens(config, tokens, module.named_tokens(config), chosen)
    config, tokens = with_prompt(fit_to_tokens(config, tokens), tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = new_system(name, config, " ".join(settings) or preset)
    return Model(name, system, tokens, feed_of(module, config), {"preset": preset})


def new_system(name: str, config: Any, given_by: str) -> Any:
    """A system of a config, initialised at random. given_by: the settings or the preset. Mistake where its numbers do not go
    together."""
    try:
        return registry.find("systems", name).System(config)
    except (ValueError, ZeroDivisionError) as error:
        raise Mistake(
            f"{name} cannot be built of these numbers.", str(error), f"Given: {given_by}."
        ) from error


def demand_prompt(config: Any, tokens: Tokens) -> None:
    """Raise Mistake where a config has a prompt without words, or one that leaves no room for a text."""
    words = getattr(config, "prompt_text", "")
    if getattr(config, "prompt", 0) and not words:
        raise Mistake(
            f"prompt={config.prompt} does not say which words stand before a text.",
            "They are put before every text in training and in captioning, and are not learned.",
            'Leave prompt out, and give the words: model.prompt_text="a picture of".',
        )
    if words and (count := len(tokens.bare([words])[0])) + 3 > config.length:
        raise Mistake(
            f"'{words}' leaves no room for a text.",
            f"It has {count} tokens, and the model reads {config.length}.",
            "Give a shorter prompt_text, or a greater length.",
        )


def fit_to_tokens(config: Any, tokens: Tokens) -> Any:
    """The Config of a system with the tokenizer's size and the ids of its roles, where it has settings for them."""
    sizes = {"vocabulary": tokens.size} if hasattr(config, "vocabulary") else {}
    ids = {setting: tokens.id(role) for setting, role in _roles_of(config).items()}
    return dataclasses.replace(config, **sizes, **ids)


def _roles_of(config: Any) -> dict[str, str]:
    """Settings of a Config that are token ids -> the role of each."""
    return {setting: role for setting, role in FROM_TOKENS.items() if hasattr(config, setting)}


def feed_of(module: Any, config: Any) -> Feed:
    """What the system's file says it reads; pixels of `image_size`, with its own PIXELS, where it says nothing."""
    if hasattr(module, "feed"):
        feed: Feed = module.feed(config)
        return feed
    return Transform(config.image_size, **getattr(module, "PIXELS", {}))


def at_size(model: Model, size: int) -> Model:
    """The same weights for pictures of another side: learned positions are interpolated (bicubic), all else is copied.

    Raises Mistake where the image tower cannot read pictures of that side.
    """
    pixels = model.pixels
    if type(pixels) is not Transform:
        why = "Its pictures have the sides that its frozen encoders read."
        raise Mistake(f"A {model.name} cannot read pictures of {size} px.", why, "Leave out --size.")
    if size == model.config.image_size:
        return model
    try:
        system = type(model.system)(dataclasses.replace(model.config, image_size=size))
    except ValueError as error:
        raise Mistake(f"{model.name} cannot read pictures of {size} px.", str(error)) from error
    drop = tuple(getattr(system, "training_state", ()))
    tensors, places = tensors_of(model.system, drop), tensors_of(system, drop)
    for name, tensor in tensors.items():
        if tensor.shape != places[name].shape:
            from pairloom.blocks.positions import resize_positions

            tensors[name] = resize_positions(tensor, places[name].shape[1])
    put_tensors(system, tensors, drop)
    about = {**model.about, "interpolated": f"positions from {model.config.image_size} px"}
    feed = dataclasses.replace(pixels, size=size, resized=round(pixels.resized * size / pixels.size))
    return dataclasses.replace(model, system=system.eval(), feed=feed, about=about)
