"""Laws of every system: this file finds each new one by itself and runs it at TINY size."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from pairloom import registry
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.config import from_dict, to_dict
from pairloom.data.batch import Batch, Texts
from pairloom.train.settings import Settings
from pairloom.verbs import Denoises, Embeds, Learns, Matches, Progress, Remembers, Sees, Writes

ROWS = 6
SYSTEMS = registry.names("systems")


@pytest.fixture(scope="module", params=SYSTEMS)
def module(request) -> ModuleType:
    return registry.find("systems", request.param)


@pytest.fixture(scope="module")
def system(module) -> Any:
    torch.manual_seed(0)
    made = module.System(module.TINY).eval()
    with torch.no_grad():  # fresh heads start near nothing; a law should see a difference where there is one
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def batch(module) -> Batch:
    """Rows of different lengths, the first of them full."""
    config, generator = module.TINY, torch.Generator().manual_seed(1)
    length = min(8, config.length)
    keep = torch.arange(length) < torch.tensor([length, 5, length, 3, 6, length])[:, None]
    tokens = torch.randint(config.sep + 2, config.vocabulary - 2, (ROWS, length), generator=generator)
    tokens[:, 0] = config.cls
    tokens[torch.arange(ROWS), keep.sum(1) - 1] = config.sep
    pictures = getattr(config, "pictures", 1)
    images = torch.randn(ROWS, pictures, 3, config.image_size, config.image_size, generator=generator)
    ids = torch.arange(ROWS)
    tokens = tokens.masked_fill(~keep, config.pad)
    return Batch(images=images, texts=Texts(tokens, keep), image_ids=ids, labels=ids % 2)


def rows(batch: Batch, which: list[int]) -> Batch:
    return replace(batch, **{name: getattr(batch, name)[which] for name in ("images", "texts", "image_ids")})


def needs(system: Any, *verbs: Any) -> None:
    for verb in verbs:
        if not isinstance(system, verb):
            pytest.skip(f"cannot be asked for {verb.__name__}")


@torch.no_grad()
def answers(system: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """What every verb says about a batch; what a writer says about padding is nobody's business."""
    said = {}
    if isinstance(system, Embeds):
        said |= {"embed_image": system.embed_image(batch), "embed_text": system.embed_text(batch)}
    if isinstance(system, Matches):
        said["match"] = system.match(batch)
    if isinstance(system, Writes):
        said["logits"] = system.logits(batch).masked_fill(~batch.texts.mask[..., None], 0.0)
    if isinstance(system, Denoises):  # the same time and noise for every row
        t = torch.full((len(batch),), system.times // 2)
        noise = torch.randn(system.latent, generator=torch.Generator().manual_seed(3)).expand(
            len(t), -1, -1, -1
        )
        said["denoising_error"] = system.denoising_error(batch, t, noise)
    assert said
    return said


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


def train(system: Any, batch: Batch, steps: int, rate: float = 3e-3) -> list[float]:
    """Plain steps on one batch; each step counts as a twentieth of an epoch."""
    optimiser = torch.optim.Adam([p for p in system.parameters() if p.requires_grad], rate)
    told = []
    system.train()
    for step in range(steps):
        torch.manual_seed(step)
        if isinstance(system, Remembers):
            system.begin(Progress(step, step / 20, steps))
        loss = torch.stack(list(system.losses(batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append(float(loss.detach()))
    return told


def test_the_file_says_what_it_is(module):
    assert "(" in module.__doc__.splitlines()[0], "the first line names the paper, its authors and year"
    assert module.PRESETS["tiny"] == module.TINY and type(module.TINY) is module.Config
    assert from_dict(module.Config, to_dict(module.TINY)) == module.TINY
    with pytest.raises(dataclasses.FrozenInstanceError):
        module.TINY.vocabulary = 1
    for recipe in module.RECIPES.values():
        Settings(**recipe)


def test_every_preset_builds(module):
    for name, config in module.PRESETS.items():
        with torch.device("meta"):
            made = module.System(config)
        assert sum(parameter.numel() for parameter in made.parameters()) > 0, name


def test_every_parameter_learns(module, batch):
    torch.manual_seed(0)
    system = module.System(module.TINY)
    before = {
        name: parameter.clone() for name, parameter in system.named_parameters() if parameter.requires_grad
    }
    train(system, batch, 2)
    still = [
        name
        for name, parameter in system.named_parameters()
        if name in before and torch.equal(parameter, before[name])
    ]
    assert before and not still


def test_it_memorises_a_batch(module, batch):
    torch.manual_seed(0)
    told = train(module.System(module.TINY), batch, 80)
    assert sum(told[-5:]) < 0.7 * sum(told[:5])


def test_padding_says_nothing(system, batch):
    scribble = torch.randint(5, 60, batch.texts.ids.shape, generator=torch.Generator().manual_seed(2))
    scribbled = replace(
        batch, texts=replace(batch.texts, ids=torch.where(batch.texts.mask, batch.texts.ids, scribble))
    )
    assert not torch.equal(scribbled.texts.ids, batch.texts.ids)
    same(answers(system, batch), answers(system, scribbled))
    longer = torch.nn.functional.pad
    padded = replace(
        batch, texts=Texts(longer(batch.texts.ids, (0, 2), value=7), longer(batch.texts.mask, (0, 2)))
    )
    said = answers(system, padded)
    if "logits" in said:
        said["logits"] = said["logits"][:, : batch.texts.ids.shape[1]]
    same(answers(system, batch), said)


def test_padding_is_not_learned(system, batch):
    needs(system, Learns)
    scribbled = replace(
        batch, texts=replace(batch.texts, ids=batch.texts.ids.masked_fill(~batch.texts.mask, 9))
    )
    same(system.losses(batch), system.losses(scribbled))


def test_neighbours_do_not_leak(system, batch):
    whole, part = answers(system, batch), answers(system, rows(batch, [1, 4]))
    same({name: said[[1, 4]] for name, said in whole.items()}, part)


def test_words_and_pictures_matter(system, batch):
    """Without this, a system that ignores its input would pass every other law."""
    turned = replace(batch, images=batch.images.flip(0))
    other = batch.texts.ids.clone()
    other[:, 1] = 5 + (other[:, 1] - 4) % 50
    whole = answers(system, batch)
    for changed, deaf in (
        (turned, {"embed_text"}),
        (replace(batch, texts=replace(batch.texts, ids=other)), {"embed_image"}),
    ):
        for name, said in answers(system, changed).items():
            assert torch.allclose(said, whole[name], atol=1e-5) == (name in deaf), name


def test_writers_do_not_see_the_future(system, batch):
    needs(system, Writes)
    changed = batch.texts.ids.clone()
    changed[:, 4:] = 5 + (changed[:, 4:] - 4) % 50
    with torch.no_grad():
        before, after = (
            system.logits(batch),
            system.logits(replace(batch, texts=replace(batch.texts, ids=changed))),
        )
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=1e-5, rtol=1e-4)
    assert (before[0, 4:] - after[0, 4:]).abs().max() > 1e-3


@torch.no_grad()
def test_step_equals_logits(system, batch):
    """Also with rows repeated, reordered and dropped on the way, as beams are."""
    needs(system, Writes)
    tokens = batch.texts.ids.clone()
    tokens[:, 0] = system.first_token
    expected = system.logits(batch)
    state = system.start(replace(batch, texts=None))
    assert len(state) == ROWS
    order = torch.arange(ROWS)
    for at in range(tokens.shape[1]):
        said, state = system.step(state, tokens[order, at])
        real = batch.texts.mask[order, at]
        torch.testing.assert_close(said[real], expected[order, at][real], atol=1e-5, rtol=1e-4)
        if at == 1:
            state, order = state.expand(2), order.repeat_interleave(2)
        if at == 3:
            chosen = torch.tensor([11, 0, 4, 5, 1])
            state, order = state.select(chosen), order[chosen]
            assert len(state) == 5


def test_what_is_saved_says_the_same(module, system, batch):
    torch.manual_seed(9)
    other = module.System(module.TINY).eval()
    drop = tuple(getattr(system, "training_state", ()))
    put_tensors(other, tensors_of(system, drop), drop)
    same(answers(system, batch), answers(other, batch))


def test_what_was_seen_is_not_looked_at_again(system, batch):
    needs(system, Sees)
    with torch.no_grad():
        seen = replace(system.encode_image(batch), images=torch.zeros_like(batch.images))
        assert system.encode_image(seen) is seen
    same(answers(system, batch), answers(system, seen))


@pytest.mark.parametrize(
    "owner", [[0, 0, 1, 1, 2, 2], [2, 0, 2, 2, 1, 0], [0, 1, 2, 3, 4, 5], [3, 3, 3, 3, 3, 3]]
)
def test_several_texts_of_a_picture(system, batch, owner):
    """image_of says what repeating the pictures would, in any order and number."""
    repeated = replace(batch, images=batch.images[owner], image_ids=None)
    told = replace(batch, image_of=torch.tensor(owner), image_ids=None)
    expected, said = answers(system, repeated), answers(system, told)
    if "embed_image" in said:  # one row per picture
        said["embed_image"] = said["embed_image"][owner]
    same(expected, said)
    if isinstance(system, Learns):
        ids = torch.tensor(owner)
        same(system.losses(replace(repeated, image_ids=ids)), system.losses(replace(told, image_ids=ids)))
