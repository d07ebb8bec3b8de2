"""diffusers folders in and out: the same bits under the same names, adapters in three spellings, and what does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffused import pipeline_folder  # noqa: E402
from published import bert_tokens  # noqa: E402

import pairloom  # noqa: E402
from pairloom import registry  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import build  # noqa: E402
from pairloom.systems.latent_diffusion import PRESETS, System  # noqa: E402
from pairloom.weights import diffusers as layout  # noqa: E402
from pairloom.weights._diffusion_adapters import ADAPTERS, halves_of  # noqa: E402

FILES = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pipes") / "small"
    pipeline_folder(where)
    return where


@pytest.fixture
def own(pipe: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(pipe, tmp_path / "own"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def errors(model: Any) -> torch.Tensor:
    """What the model says of two pairs."""
    batch = model.batch(texts=["a red square", "two cats"])
    chance = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 3, 32, 32, generator=chance)
    noise = torch.randn(2, *model.system.latent, generator=chance)
    with torch.no_grad():
        return model.system.denoising_error(replace(batch, images=images), torch.tensor([100, 700]), noise)


def test_out_and_in_again(pipe: Path, tmp_path: Path) -> None:
    """What comes in goes out with the same bits, diffusers loads it, and a model folder of ours says the same."""
    from diffusers import StableDiffusionPipeline

    model = pairloom.load(pipe)
    registry.find("cli", "export").command(pipe, tmp_path / "out", to="diffusers")
    for name in FILES:
        before, after = (load_file(where / f"{name}.safetensors") for where in (pipe, tmp_path / "out"))
        before = {(name if name in after else f"text_model.{name}"): value for name, value in before.items()}
        assert before.keys() == after.keys() and all(torch.equal(before[one], after[one]) for one in before)
    again = StableDiffusionPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    ids = again.tokenizer(["two cats"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        theirs = again.text_encoder(ids)[0]
        torch.testing.assert_close(model.system.text(*model.batch(texts=["two cats"]).text()).context, theirs)
    assert type(again.scheduler).__name__ == "PNDMScheduler" and again.scheduler.config.steps_offset == 1
    torch.testing.assert_close(errors(pairloom.load(tmp_path / "out")), errors(model))
    registry.find("cli", "import_").command(str(pipe), tmp_path / "ours", json=True)
    torch.testing.assert_close(errors(pairloom.load(tmp_path / "ours")), errors(model))


def test_old_names_and_half_precision(own: Path) -> None:
    """Autoencoders of 2022 spell their attention otherwise; files of 16 bits come in as the same values."""
    expected = errors(pairloom.load(own))
    file = own / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({layout._spelt(name): tensor for name, tensor in load_file(file).items()}, file)
    assert any(".query." in name for name in load_file(file))
    torch.testing.assert_close(errors(pairloom.load(own)), expected)
    file = own / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(
        {name: tensor.half() for name, tensor in load_file(file).items()},
        file.with_suffix(".fp16.safetensors"),
    )
    kept = load_file(file)
    file.unlink()
    found = pairloom.load(own).system.unet.state_dict()
    assert all(torch.equal(found[name], kept[name].half().float()) for name in kept)


def test_torch_files_are_not_unpickled(own: Path) -> None:
    file = own / "unet" / "diffusion_pytorch_model.safetensors"
    expected = errors(pairloom.load(own))
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    torch.testing.assert_close(errors(pairloom.load(own)), expected)
    torch.save({"run": print}, file.with_suffix(".bin"))
    with pytest.raises(Mistake, match="more than tensors"):
        pairloom.load(own)


def released(system: System, seed: int) -> dict[str, torch.Tensor]:
    """Random adapters by the released names."""
    chance = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(tensor.shape, generator=chance) for _, name, tensor in halves_of(system)}


PEFT = {"down": "lora_A", "up": "lora_B"}


def respelt(name: str, spelling: str) -> str:
    owner, rest = name.split(".processor.to_")
    which, half = rest.replace("_lora", "").removesuffix(".weight").split(".")
    place = "out.0" if which == "out" else which
    if spelling == "peft":
        return f"unet.{owner}.to_{place}.{PEFT[half]}.weight"
    return f"unet.{owner}.to_{place}.lora.{half}.weight" if spelling == "diffusers" else name


@pytest.mark.parametrize(
    ("spelling", "adapted"), [("released", "both"), ("peft", "both"), ("diffusers", "cross")]
)
def test_adapters(own: Path, tmp_path: Path, spelling: str, adapted: str) -> None:
    """W x + up(down(x)): the same as weights that the product was added to; out again by the released names."""
    plain = pairloom.load(own)
    placed = System(replace(plain.config, rank=3, adapted=adapted))
    learned = released(placed, 1)
    save_file({respelt(name, spelling): value for name, value in learned.items()}, own / ADAPTERS)
    model = pairloom.load(own)
    assert (model.config.rank, model.config.adapted) == (3, adapted)
    before, state = errors(plain), plain.system.unet.state_dict()  # the weights themselves
    for name in [name for name in learned if ".down." in name]:
        place = respelt(name, "peft").removeprefix("unet.").removesuffix("lora_A.weight") + "weight"
        state[place] += learned[name.replace(".down.", ".up.")] @ learned[name]
    torch.testing.assert_close(errors(model), errors(plain), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(errors(model), before, rtol=1e-3)
    layout.export(model, tmp_path / "out")
    out = load_file(tmp_path / "out" / ADAPTERS)
    assert out.keys() == learned.keys() and all(torch.equal(out[name], learned[name]) for name in out)


@pytest.mark.parametrize("header, scale", [
    ({"unet.r": 3, "unet.lora_alpha": 12}, 4.0), ({"unet.r": 3, "unet.lora_alpha": 1}, 1 / 3), ({}, 1.0),
    ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 6 / 3**0.5),
])  # fmt: skip
def test_the_scale_of_adapters_is_in_the_header(own: Path, header: dict[str, Any], scale: float) -> None:
    """W x + alpha / rank * up(down(x)), as diffusers and peft write it."""
    placed = System(replace(pairloom.load(own).config, rank=3))
    learned = released(placed, 1)
    spelt = {respelt(name, "peft"): value for name, value in learned.items()}
    save_file(spelt, own / ADAPTERS, {"format": "pt", "lora_adapter_metadata": json.dumps(header)})
    state = pairloom.load(own).system.state_dict()
    for ours, name, _ in halves_of(placed):
        expected = learned[name] * (scale if ".up." in name else 1.0)
        torch.testing.assert_close(state[ours], expected)


def test_adapters_with_scales_of_their_own_are_merged(own: Path) -> None:
    """A layer whose alpha, or whose rank, is its own: W + alpha / rank * up down, by hand."""
    plain = pairloom.load(own).system
    learned = {
        respelt(name, "peft"): value
        for name, value in released(System(replace(plain.config, rank=3)), 1).items()
    }
    one = next(name for name in learned if name.endswith("to_k.lora_A.weight"))
    learned[one], up = learned[one][:2], one.replace("lora_A", "lora_B")
    learned[up] = learned[up][:, :2].contiguous()
    header = {"unet.lora_alpha": 6, "unet.alpha_pattern": {"to_q": 1.5}}
    save_file(learned, own / ADAPTERS, {"lora_adapter_metadata": json.dumps(header)})
    model = pairloom.load(own)
    state, before = model.system.state_dict(), plain.state_dict()
    assert model.config.rank == 0
    for name in [name for name in learned if "lora_A" in name]:
        scale = (1.5 if "to_q" in name else 6) / len(learned[name])
        layer = name.replace("lora_A.weight", "weight")
        expected = before[layer] + scale * learned[name.replace("lora_A", "lora_B")] @ learned[name]
        torch.testing.assert_close(state[layer], expected)


@pytest.mark.parametrize("part, values, said", [
    ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "is not supported"),
    ("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler"}, "is not supported"),
    ("unet/config.json", {"sample_size": None}, "sample_size is None"),
    ("unet/config.json", {"sample_size": [16, 24]}, r"sample_size is \[16, 24\]"),
])  # fmt: skip
def test_settings_that_are_not_built_are_a_mistake(
    own: Path, part: str, values: dict[str, Any], said: str
) -> None:
    change(own / part, **values)
    with pytest.raises(Mistake, match=said):
        pairloom.load(own)


def test_the_released_adapters_fit() -> None:
    """Stable Diffusion 2.1: 256 tensors of rank 4 on q, k, v, out of both attentions: 829,952 numbers (spec, opened file)."""
    with torch.device("meta"):
        system = System(replace(PRESETS["2.1-base"], rank=4))
    halves = list(halves_of(system))
    assert len(halves) == 256 and sum(tensor.numel() for *_, tensor in halves) == 829_952
    assert (
        halves[0][1]
        == "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"
    )
    learned = [name for name, value in system.named_parameters() if value.requires_grad]
    assert sorted(learned) == sorted(ours for ours, _, _ in halves)


def lose(part: str) -> Callable[[Path], None]:
    return lambda where: shutil.rmtree(where / part)


def put(file: str, **values: Any) -> Callable[[Path], None]:
    return lambda where: change(where / file, **values)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "part": (lose("vae"), "has no vae"),
    "two parts": (lambda where: (lose("vae")(where), lose("scheduler")(where)) and None, "no vae and no scheduler"),
    "weights": (lambda where: (where / f"{FILES[0]}.safetensors").unlink(), "unet has no weights"),
    "config": (lambda where: (where / "unet" / "config.json").write_text("{"), "config.json is missing or no JSON"),
    "prediction": (put("scheduler/scheduler_config.json", prediction_type="sample"), "predicts 'sample'"),
    "scheduler": (put("scheduler/scheduler_config.json", _class_name="MadeUp"), "no scheduler 'MadeUp'"),
    "inpainting": (put("unet/config.json", in_channels=9), "reads 9 channels, the latents have 4"),
    "text": (put("unet/config.json", cross_attention_dim=768), "768 wide, they are 32"),
    "shape": (put("unet/config.json", block_out_channels=[16, 64]), "does not fit this system"),
    "words": (put("text_encoder/config.json", vocab_size=99), "554 ids, the text encoder 99"),
    "shifted": (put("vae/config.json", shift_factor=0.1), "the latents are shifted"),
    "setting": (put("unet/config.json", made_up=1), "'made_up'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit(own: Path, name: str) -> None:
    spoil, said = BROKEN[name]
    spoil(own)
    with pytest.raises(Mistake) as told:
        pairloom.load(own)
    assert said in str(told.value)


def test_adapters_that_do_not_fit(own: Path) -> None:
    model = pairloom.load(own)
    learned = released(System(replace(model.config, rank=2)), 1)
    one = next(iter(learned))
    pair = {f"text_encoder.q.lora.{half}.weight": learned[one].clone() for half in ("down", "up")}
    square = {name: torch.zeros(2, 2) for name in pair}
    for changed, said in (
        ({**learned, **square}, "no layer 'text_encoder.q'"),
        ({**learned, "unet.conv_in.hada_w1_a": torch.zeros(1)}, "It is LoHa"),
        ({**learned, "unet.conv_in.diff_b": torch.zeros(1)}, "It is full differences"),
        ({**learned, "strange": torch.zeros(1)}, "'unet.strange' in .* is no low-rank adapter"),
        ({name: value for name, value in learned.items() if name != one}, "Missing: down"),
        ({**learned, one: torch.zeros(5, 16)}, "different ranks"),
        ({**learned, one: torch.zeros(2, 7)}, "does not fit its layer"),
    ):
        save_file(changed, own / ADAPTERS)
        with pytest.raises(Mistake, match=said):
            pairloom.load(own)


def kohya(system: System, xl: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Adapters of kohya's names on attention, feed-forward maps and text encoders; and by our names what they add to a weight."""
    chance, tensors, added = torch.Generator().manual_seed(4), {}, {}
    parts = {
        "lora_unet_": "unet",
        "lora_te1_" if xl else "lora_te_": "text.first",
        **({"lora_te2_": "text.second"} if xl else {}),
    }
    for begin, part in parts.items():
        for name, module in system.get_submodule(part).named_modules():
            wanted = "attn" in name or ".ff." in name or ".mlp." in name or "proj_in" in name
            if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d) or not wanted:
                continue
            rank, alpha = 2 + len(tensors) % 2, 1.0 + len(tensors) % 5
            down = torch.randn(rank, *module.weight.shape[1:], generator=chance)
            up = torch.randn(len(module.weight), rank, *[1] * (module.weight.ndim - 2), generator=chance)
            path = first_release(name) if xl and part == "unet" else name
            path = path if part == "unet" or path.startswith("text_model") else f"text_model.{path}"
            key = begin + path.replace(".", "_")
            tensors |= {
                f"{key}.lora_down.weight": down,
                f"{key}.lora_up.weight": up,
                f"{key}.alpha": torch.tensor(alpha),
            }
            product = up.flatten(1) @ down.flatten(1)
            added[f"{part}.{name}.weight"] = alpha / rank * product.view_as(module.weight)
    return tensors, added


def first_release(name: str) -> str:
    """The path of an attention in the first release's network of a layer per block, as Stable Diffusion XL's adapters have it."""
    parts = name.split(".")
    if parts[0] == "mid_block":
        return ".".join(["middle_block.1", *parts[3:]])
    side, number = (
        ("input", 2 * int(parts[1]) + int(parts[3]) + 1)
        if parts[0] == "down_blocks"
        else ("output", 2 * int(parts[1]) + int(parts[3]))
    )
    return ".".join([f"{side}_blocks.{number}.1", *parts[4:]])


@pytest.mark.parametrize("xl", [False, True], ids=["1.x", "xl"])
def test_adapters_of_kohyas_names(tmp_path: Path, xl: bool) -> None:
    """W + alpha / rank * up down on every layer that is named, with the alpha and the rank of that layer; diffusers with peft draws
    the same pictures (docs/log.md)."""
    where = tmp_path / "pipe"
    pipeline_folder(where, xl=xl)
    plain = pairloom.load(where).system
    tensors, added = kohya(plain, xl)
    save_file(tensors, where / ADAPTERS)
    state = pairloom.load(where).system.state_dict()
    assert len(added) > 30
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(state[name], tensor + added.get(name, torch.zeros(())))
    with pytest.raises(Mistake, match="holds low-rank adapters, not a model"):
        pairloom.load(where / ADAPTERS)
    one = next(iter(tensors)).split(".")[0]
    for sign, kind in (
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("dora_scale", "DoRA"),
        ("lora_mid.weight", "LoCon"),
    ):
        save_file({**tensors, f"{one}.{sign}": torch.zeros(1)}, where / ADAPTERS)
        with pytest.raises(Mistake, match=f"It is {kind}"):
            pairloom.load(where)


def test_adapters_of_peft_beside_a_part(own: Path) -> None:
    """unet/adapter_config.json and its weights, as peft's own examples save them."""
    plain = pairloom.load(own).system
    layers = [name for name in plain.attention_maps("both") if name.endswith("to_v")]
    shapes = {name: plain.unet.get_submodule(name).weight.shape for name in layers}
    halves = {name: (torch.randn(2, shape[1]), torch.randn(shape[0], 2)) for name, shape in shapes.items()}
    save_file(
        {
            f"base_model.model.{name}.lora_{half}.weight": both["AB".index(half)]
            for name, both in halves.items()
            for half in "AB"
        },
        own / "unet" / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 5, "target_modules": ["to_v"], "bias": "none"}
    (own / "unet" / "adapter_config.json").write_text(json.dumps(settings))
    state = pairloom.load(own).system.state_dict()
    for name, (down, up) in halves.items():
        torch.testing.assert_close(
            state[f"unet.{name}.weight"], plain.state_dict()[f"unet.{name}.weight"] + 2.5 * up @ down
        )


def test_what_cannot_go_out(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no autoencoder"):
        layout.export(build("latent_diffusion", bert_tokens(), "tiny"), tmp_path / "out")
