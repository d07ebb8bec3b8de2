"""Laws of every system: this file finds each new one by itself and runs it at TINY size, on the batch of its own `example`.

Three toys obey the same laws: a system that only draws, one that reads regions and no pixels, one that writes image codes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from pairloom import registry
from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.config_json import from_dict, to_dict
from pairloom.data.batch import Batch, Texts
from pairloom.data.random_batch import ROWS
from pairloom.errors import Mistake
from pairloom.train.settings import Settings
from pairloom.verbs import (
    KINDS,
    SCORES,
    Chooses,
    Denoises,
    Draws,
    Embeds,
    Learns,
    LearnsInTurns,
    Matches,
    Progress,
    Remembers,
    Sees,
    Similar,
    Writes,
    WritesCodes,
    able,
    demand,
    demand_way,
    losses_of,
    turns_of,
    ways,
)

TOYS = {path.stem: path for path in sorted((Path(__file__).parent / "toys").glob("*.py"))}
SYSTEMS = [*registry.names("systems"), *TOYS]
PICTURES = ("images", "regions", "codes", "clips", "question", "caption")  # rows that several texts may share
TEXTS = ("texts", "labels", "weights", "image_ids")


@pytest.fixture(scope="module", params=SYSTEMS)
def module(request) -> ModuleType:
    if request.param not in TOYS:
        return registry.find("systems", request.param)
    spec = importlib.util.spec_from_file_location(request.param, TOYS[request.param])
    toy = importlib.util.module_from_spec(spec)
    sys.modules[request.param] = toy  # where dataclasses look up their annotations
    spec.loader.exec_module(toy)
    return toy


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
    return module.example(module.TINY, torch.Generator().manual_seed(1))


def present(batch: Batch, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of these names that the batch has."""
    return {name: getattr(batch, name) for name in names if getattr(batch, name) is not None}


def rows(batch: Batch, which: list[int]) -> Batch:
    fields = present(batch, (*PICTURES, *TEXTS))
    return replace(batch, **{name: value[which] for name, value in fields.items()})


def texts_of(batch: Batch) -> dict[str, Texts]:
    """All texts of a batch, by where they stand."""
    asked = {} if batch.question is None else {"question": batch.question.texts}
    return {**present(batch, ("texts", "caption")), **asked}


def with_texts(batch: Batch, change: Callable[[Texts], Texts], names: tuple[str, ...] = ()) -> Batch:
    """The batch with its texts changed, or those of these names."""
    changed = {name: change(texts) for name, texts in texts_of(batch).items() if name in names or not names}
    if "question" in changed:
        changed["question"] = replace(batch.question, texts=changed["question"])
    return replace(batch, **changed)


def needed(system: Any) -> set[Any]:
    """The Protocols that the declared abilities need."""
    return {verb for one in system.abilities for verb in KINDS[one.name].needs}


def needs(system: Any, *verbs: Any) -> None:
    for verb in verbs:
        if verb not in needed(system) and not (verb in (Sees, Learns) and isinstance(system, verb)):
            pytest.skip(f"cannot be asked for {verb.__name__}")


@torch.no_grad()
def answers(system: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """What every ability says about a batch; what a writer says about padding is nobody's business."""
    verbs, said = needed(system), {}
    if Embeds in verbs:
        said |= {"embed_image": system.embed_image(batch), "embed_text": system.embed_text(batch)}
    if Matches in verbs:
        said["match"] = system.match(batch)
    if Similar in verbs:
        said["similarity"] = system.similarity(batch)
    if Chooses in verbs:
        said["answer_logits"] = system.answer_logits(batch)
    if Writes in verbs:
        said["logits"] = system.logits(batch).masked_fill(~batch.texts.mask[..., None], 0.0)
    if WritesCodes in verbs:
        said["code_logits"] = system.code_logits(batch)
    if Draws in verbs:  # the same seed for every row
        few = {"steps": 2, "guidance": 1.0}  # guidance would multiply the rounding by 14
        known = inspect.signature(system.draw).parameters
        few = {name: value for name, value in few.items() if name in known}
        said["draw"] = system.draw(batch, seeds=[5] * len(batch), **few)
    if Denoises in verbs:  # the same time and noise for every row
        t = torch.full((len(batch),), system.times // 2)
        noise = torch.randn(system.latent, generator=torch.Generator().manual_seed(3)).expand(
            len(t), -1, -1, -1
        )
        said["denoising_error"] = system.denoising_error(batch, t, noise)
    assert said
    return said


def all_losses(system: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Of every turn."""
    found = {turn: losses_of(system, batch, turn) for turn in turns_of(system)}
    return {f"{turn} {name}": value for turn, losses in found.items() for name, value in losses.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


def train(system: Any, batch: Batch, steps: int, rate: float = 3e-3) -> list[float]:
    """Plain steps on one batch, an optimiser a turn; each step counts as a twentieth of an epoch."""
    learned = {name: value for name, value in system.named_parameters() if value.requires_grad}
    moved = {
        turn: [value for name, value in learned.items() if name.startswith(prefixes)]
        for turn, prefixes in turns_of(system).items()
    }
    optimisers = {turn: torch.optim.Adam(values, rate) for turn, values in moved.items()}
    sums = []
    system.train()
    for step in range(steps):
        if isinstance(system, Remembers):
            system.begin(Progress(step, step / 20, steps))
        for turn, optimiser in optimisers.items():
            torch.manual_seed(step)
            loss = torch.stack(list(losses_of(system, batch, turn).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            sums.append(float(loss.detach()))
    return sums


def test_the_file_says_what_it_is(module):
    assert "(" in module.__doc__.splitlines()[0], "the first line names the paper, its authors and year"
    assert module.PRESETS["tiny"] == module.TINY and type(module.TINY) is module.Config
    assert from_dict(module.Config, to_dict(module.TINY)) == module.TINY
    with pytest.raises(dataclasses.FrozenInstanceError):
        module.TINY.vocabulary = 1
    for recipe in module.RECIPES.values():
        Settings(**recipe)


def test_it_declares_exactly_what_it_has_methods_for(system):
    """Each ability once, with all the methods that it needs; no method of an ability that is not declared."""
    names = [one.name for one in system.abilities]
    assert names and len(set(names)) == len(names)
    every = {verb for kind in KINDS.values() for verb in kind.needs}
    assert {verb for verb in every if isinstance(system, verb)} == needed(system)
    scores = [one for one in system.abilities if one.name in SCORES]
    assert all(one.by and one.pictures for one in scores) and len(ways(system)) == len(scores)
    assert all(isinstance(text, str) for text in system.trains_on)
    assert set(system.trains_on) <= set(registry.names("data.datasets")) and system.trains_on


def test_what_is_not_declared_is_a_mistake(system):
    for name in KINDS:
        if able(system, name):
            assert demand(system, name).name == name
            continue
        with pytest.raises(Mistake) as refused:
            demand(system, name)
        assert all(KINDS[one.name].command in str(refused.value) for one in system.abilities)
    if ways(system):
        assert demand_way(system) == ways(system)[0]
        assert all(demand_way(system, way.split()[0]) == way for way in ways(system))
    with pytest.raises(Mistake, match="cannot score"):
        demand_way(system, "guessing")


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
    system = module.System(module.TINY)
    if isinstance(system, LearnsInTurns):
        pytest.skip("what one turn gains another may lose")
    told = train(system, batch, 80)
    assert sum(told[-5:]) < 0.7 * sum(told[:5])


def scribbled(batch: Batch) -> Batch:
    """The batch with other padding: of texts, and of regions."""
    chance = torch.Generator().manual_seed(2)

    def scribble(texts: Texts) -> Texts:
        other = torch.randint(5, 60, texts.ids.shape, generator=chance)
        return replace(texts, ids=torch.where(texts.mask, texts.ids, other))

    changed = with_texts(batch, scribble)
    if batch.regions is not None:
        features = batch.regions.features
        other = torch.where(
            batch.regions.mask[..., None], features, torch.randn(features.shape, generator=chance)
        )
        changed = replace(changed, regions=replace(batch.regions, features=other))
    assert not torch.equal(changed.texts.ids, batch.texts.ids)
    return changed


def test_padding_says_nothing(system, batch):
    same(answers(system, batch), answers(system, scribbled(batch)))
    longer = torch.nn.functional.pad
    said = answers(
        system,
        with_texts(
            batch, lambda texts: Texts(longer(texts.ids, (0, 2), value=7), longer(texts.mask, (0, 2)))
        ),
    )
    if "logits" in said:
        said["logits"] = said["logits"][:, : batch.texts.ids.shape[1]]
    same(answers(system, batch), said)


def test_padding_is_not_learned(system, batch):
    same(all_losses(system, batch), all_losses(system, scribbled(batch)))


def test_neighbours_do_not_leak(system, batch):
    whole, part = answers(system, batch), answers(system, rows(batch, [1, 4]))
    same({name: said[[1, 4]] for name, said in whole.items()}, part)


def other_word(texts: Texts) -> Texts:
    """Another second token in every row."""
    ids = texts.ids.clone()
    ids[:, 1] = 5 + (ids[:, 1] - 4) % 50
    return replace(texts, ids=ids)


def test_words_and_pictures_matter(system, batch):
    """Without this, a system that ignores its input would pass every other law."""
    whole = answers(system, batch)
    seen = {"embed_text", "draw"} | ({"code_logits"} if batch.codes is None else set())
    changes = [(with_texts(batch, other_word, ("texts",)), {"embed_image"})]
    for name in ("question", "caption"):
        if getattr(batch, name) is not None:
            changes.append((with_texts(batch, other_word, (name,)), {"embed_text"}))
    for name, value in present(batch, ("images", "regions", "codes", "clips")).items():
        if name == "codes" and batch.images is not None:
            continue  # what is to be predicted of the pictures
        if name == "images" and batch.codes is not None and WritesCodes in needed(system):
            seen = seen | {"code_logits"}  # the codes of the pictures are stated
        changes.append((replace(batch, **{name: value[list(range(ROWS))[::-1]]}), seen))
    for changed, deaf in changes:
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


@torch.no_grad()
def test_codes_are_written_one_after_the_other(system, batch):
    """step_codes equals code_logits, and no code sees a later one; pictures come out of codes."""
    needs(system, WritesCodes)
    codes, half = batch.codes.ids, system.code_length // 2
    assert codes.shape == (ROWS, system.code_length) and int(codes.max()) < system.codebook_size
    expected = system.code_logits(batch)
    assert expected.shape == (*codes.shape, system.codebook_size)
    logits, state = system.start_codes(replace(batch, codes=None))
    for at in range(system.code_length):
        torch.testing.assert_close(logits, expected[:, at], atol=1e-5, rtol=1e-4)
        if at + 1 < system.code_length:  # there is none behind the last
            logits, state = system.step_codes(state, codes[:, at])
    later = codes.clone()
    later[:, half:] = (later[:, half:] + 1) % system.codebook_size
    changed = system.code_logits(replace(batch, codes=replace(batch.codes, ids=later)))
    torch.testing.assert_close(changed[:, : half + 1], expected[:, : half + 1], atol=1e-5, rtol=1e-4)
    assert (changed - expected)[:, half + 1 :].abs().max() > 1e-3
    pictures = system.decode_codes(codes)
    assert pictures.shape[:2] == (ROWS, 3) and pictures.abs().max() <= 1
    assert able(system, "caption") or not isinstance(system, Writes)


def test_what_is_saved_says_the_same(module, system, batch):
    torch.manual_seed(9)
    other = module.System(module.TINY).eval()
    drop = tuple(getattr(system, "training_state", ()))
    put_tensors(other, tensors_of(system, drop), drop)
    same(answers(system, batch), answers(other, batch))


def test_what_was_seen_is_not_looked_at_again(system, batch):
    needs(system, Sees)
    nothing = {name: torch.zeros_like(value) for name, value in present(batch, ("images",)).items()}
    with torch.no_grad():
        encoded = replace(system.encode_image(batch), **nothing)
        assert system.encode_image(encoded) is encoded
    same(answers(system, batch), answers(system, encoded))


@pytest.mark.parametrize(
    "owner", [[0, 0, 1, 1, 2, 2], [2, 0, 2, 2, 1, 0], [0, 1, 2, 3, 4, 5], [3, 3, 3, 3, 3, 3]]
)
def test_several_texts_of_a_picture(system, batch, owner):
    """image_of says what repeating the pictures would, in any order and number."""
    pictures = {name: value[owner] for name, value in present(batch, PICTURES).items()}
    repeated = replace(batch, **pictures, image_ids=None)
    shared = replace(batch, image_of=torch.tensor(owner), image_ids=None)
    expected, said = answers(system, repeated), answers(system, shared)
    if "embed_image" in said:  # one row per picture
        said["embed_image"] = said["embed_image"][owner]
    same(expected, said)
    ids = torch.tensor(owner)
    same(
        all_losses(system, replace(repeated, image_ids=ids)),
        all_losses(system, replace(shared, image_ids=ids)),
    )
