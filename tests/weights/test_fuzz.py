"""Whatever stands in a file that a user can hold: it loads, or a Mistake says what is wrong, soon and in little memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

import colours  # noqa: E402
from fuzzing import WEIGHTS, Change, changes_of, faults, limits, sample, tensor_changes  # noqa: E402
from published import bert_tokens, blip_folder, clip_folder, clip_tokens, processor  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_align import align  # noqa: E402
from test_bert_clip import alt, chinese  # noqa: E402
from test_blip2 import blip2  # noqa: E402
from test_flamingo_parts import TWO_LAYERS, bridge, fresh, language_folder  # noqa: E402
from test_min_dalle import publish as publish_min_dalle  # noqa: E402
from test_openai_clip import VIT, model_of, script  # noqa: E402
from test_peft import adapters  # noqa: E402
from test_released import FILES as RELEASED  # noqa: E402
from test_released import publish as publish_released  # noqa: E402
from test_salesforce import model_of as blip_of  # noqa: E402
from test_salesforce import publish  # noqa: E402
from test_siglip import folder as siglip  # noqa: E402
from test_torchvision import captioner, published  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    LxmertConfig,
    LxmertForPreTraining,
    ViTConfig,
    ViTModel,
)

import pairloom  # noqa: E402
from pairloom.clean.calibrate import calibrate  # noqa: E402
from pairloom.clean.folds import JudgeFold, References  # noqa: E402
from pairloom.clean.judges import Judge  # noqa: E402
from pairloom.data.transform import Transform  # noqa: E402
from pairloom.errors import Mistake  # noqa: E402
from pairloom.model import Model, build, save  # noqa: E402
from pairloom.search import open as open_index  # noqa: E402
from pairloom.systems.albef import TINY as ALBEF  # noqa: E402
from pairloom.systems.albef import System as AlbefSystem  # noqa: E402
from pairloom.systems.coca import TINY, System  # noqa: E402
from pairloom.towers import load_image_tower, load_text_tower  # noqa: E402
from pairloom.weights import open_clip, open_clip_coca  # noqa: E402
from pairloom.weights.albef import to_published  # noqa: E402
from pairloom.weights.exchange import with_part  # noqa: E402
from pairloom.weights.openai_clip import MARKS, to_openai  # noqa: E402

Loader = Callable[[Path], object]


def load(where: Path) -> object:
    return pairloom.load(where, device="cpu")


def clip(where: Path) -> Loader:
    clip_folder(where)
    return load


def blip(where: Path) -> Loader:
    blip_folder(where, "caption")
    return load


def siglip_of_transformers(where: Path) -> Loader:
    siglip(where)
    return load


def chinese_clip(where: Path) -> Loader:
    chinese(where)
    return load


def altclip(where: Path) -> Loader:
    alt(where)
    return load


def align_of_transformers(where: Path) -> Loader:
    align(where)
    return load


def blip2_of_transformers(where: Path) -> Loader:
    blip2(where)
    return load


def ours(where: Path) -> Loader:
    save(build("blip", blip_of().tokens, "tiny"), where)
    return load


def coca(where: Path) -> Loader:
    tokens = clip_tokens()
    config = replace(
        TINY, poolers="open_clip", vocabulary=tokens.size, embedding=TINY.width, pad=0, cls=tokens.size - 2,
        sep=tokens.size - 1, length=20,
    )  # fmt: skip
    model = Model("coca", System(config), tokens, Transform(config.image_size))
    open_clip_coca.export(model, where)
    return load


def of_open_clip(where: Path) -> Loader:
    open_clip.export(model_of(VIT), where)
    return load


def openai(where: Path) -> Loader:
    model = model_of(VIT)
    where.mkdir()
    script(to_openai(model.system) | {name: torch.tensor(7) for name in MARKS}, where / "ViT-B-32.pt")
    model.tokens.save(where)
    return lambda folder: load(folder / "ViT-B-32.pt")


def openai_tensors(where: Path) -> Loader:
    """The state dict by itself, with the three numbers, as a fine-tuned model is saved."""
    loader = openai(where)
    torch.save(
        to_openai(model_of(VIT).system) | {name: torch.tensor(7) for name in MARKS}, where / "ViT-B-32.pt"
    )
    return loader


def salesforce(where: Path) -> Loader:
    publish(blip_of(), where)
    return lambda folder: load(folder / "model_base.pth")


def language(where: Path) -> Loader:
    language_folder(where)
    return lambda folder: with_part(fresh(*TWO_LAYERS), "language", folder)


def image_tower(where: Path) -> Loader:
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ViTModel(ViTConfig(**sizes, image_size=16, patch_size=8), add_pooling_layer=False).save_pretrained(where)
    processor(where, 16, "ViT")
    return load_image_tower


def text_tower(where: Path) -> Loader:
    torch.manual_seed(0)
    tokens = bert_tokens()
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(BertConfig(**sizes, vocab_size=tokens.size, max_position_embeddings=16)).save_pretrained(where)
    tokens.save(where)
    (where / "1_Pooling").mkdir()
    (where / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (where / "modules.json").write_text(
        '[{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]'
    )
    (where / "sentence_bert_config.json").write_text('{"max_seq_length": 12, "do_lower_case": false}')
    return load_text_tower


def judge(where: Path) -> Loader:
    """A judge of one model, with a calibration and the references of a fold."""
    tokens = bert_tokens()
    model = build("clip", tokens, "tiny")
    references = References(torch.randn(4, model.config.embedding), torch.randn(4, model.config.embedding))
    own, planted = np.linspace(0, 1, 80), np.linspace(-1, 0.5, 80)
    Judge((JudgeFold(model, references),), "cosine", size=32, calibration=calibrate(own, planted, 0.1)).save(
        where
    )
    return pairloom.load_judge


def pipeline(where: Path) -> Loader:
    pytest.importorskip("diffusers")
    from diffused import pipeline_folder

    pipeline_folder(where)
    return load


def peft(where: Path) -> Loader:
    base = where.with_name("base")
    clip_folder(base)
    adapters(where, base, ("q_proj",), alpha_pattern={"layers.0": 2}, rank_pattern={})
    return load


def flamingo_bridge(where: Path) -> Loader:
    where.mkdir()
    model, _, state = bridge(where.with_name("words"))
    torch.save(state, where / "checkpoint.pt")
    return lambda folder: with_part(model, "bridge", folder / "checkpoint.pt")


def torchvision_encoder(where: Path) -> Loader:
    """As timm writes it, with the settings of the pictures."""
    where.mkdir()
    save_file(published("googlenet"), where / "model.safetensors")
    settings = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 64, 64]}
    (where / "config.json").write_text(json.dumps({"architecture": "googlenet", "pretrained_cfg": settings}))
    return lambda folder: with_part(captioner("googlenet"), "encoder", folder)


def start_of(part: str) -> Loader:
    sizes = [
        "image_width=16",
        "image_size=16",
        "image_depth=1",
        "width=16",
        "depth=1",
        "queue=0",
        "momentum=0",
    ]
    return lambda folder: with_part(build("blip", bert_tokens(), "tiny", sizes), part, folder)


def vit_start(where: Path) -> Loader:
    image_tower(where)
    config = json.loads((where / "config.json").read_text()) | {"intermediate_size": 64}
    ViTModel(ViTConfig(**config), add_pooling_layer=False).save_pretrained(where)
    return start_of("image")


def bert_start(where: Path) -> Loader:
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    tokens = bert_tokens()
    BertModel(BertConfig(**sizes, vocab_size=tokens.size, max_position_embeddings=16)).save_pretrained(where)
    return start_of("text")


def ridge(where: Path) -> Loader:
    """A ridge model, asked for embeddings."""
    root = where.parent
    colours.write(root / "raw", 60, bad=0)
    pairloom.train("ridge", root / "raw", where, image_tower="none", text_tower="none", device="cpu")

    def ask(folder: Path) -> None:
        pairloom.load(folder, device="cpu").embed([root / "raw" / "00000.png"], ["a plain red wall"])

    return ask


def index(where: Path) -> Loader:
    """An index of two pictures, asked for words."""
    root = where.parent
    save(build("clip", bert_tokens(), "tiny"), root / "clip")
    (root / "pairs").mkdir()
    for at, colour in enumerate(("red", "blue")):
        Image.new("RGB", (16, 16), colour).save(root / "pairs" / f"{at}.png")
        (root / "pairs" / f"{at}.txt").write_text(f"a {colour} square")
    pairloom.open(root / "pairs").index(where, root / "clip", device="cpu")

    def ask(folder: Path) -> None:
        with open_index(folder, None, "cpu") as opened:
            opened.search("a red square")

    return ask


def lxmert(where: Path) -> Loader:
    tokens = bert_tokens()
    sizes = dict(
        vocab_size=tokens.size, hidden_size=16, num_attention_heads=2, intermediate_size=64, num_object_labels=3,
        num_attr_labels=2, num_qa_labels=3, l_layers=1, r_layers=1, x_layers=1, visual_feat_dim=8,
        max_position_embeddings=16,
    )  # fmt: skip
    LxmertForPreTraining(LxmertConfig(**sizes)).save_pretrained(where)
    tokens.save(where)
    (where / "trainval_label2ans.json").write_text('["yes", "no", "2"]')
    return load


def albef(where: Path) -> Loader:
    tokens = bert_tokens()
    config = replace(
        ALBEF, vocabulary=tokens.size, width=64, heads=1, image_width=64, image_heads=1, momentum=0.0, queue=0
    )
    where.mkdir()
    torch.save({"model": to_published(AlbefSystem(config))}, where / "ALBEF.pth")
    tokens.save(where)
    return lambda folder: load(folder / "ALBEF.pth")


def of_fusion(name: str) -> Callable[[Path], Loader]:
    """One of the files of `test_released.py`."""

    def write(where: Path) -> Loader:
        where.mkdir()
        file = publish_released(RELEASED[name], where)
        return lambda folder: load(folder / file.name)

    return write


def min_dalle(where: Path) -> Loader:
    publish_min_dalle(where)
    return load


LAYOUTS: dict[str, Callable[[Path], Loader]] = {
    one.__name__: one
    for one in (
        clip,
        blip,
        ours,
        of_open_clip,
        coca,
        openai,
        openai_tensors,
        salesforce,
        language,
        image_tower,
        text_tower,
        judge,
        pipeline,
        peft,
        index,
        siglip_of_transformers,
        chinese_clip,
        altclip,
        align_of_transformers,
        blip2_of_transformers,
        lxmert,
        albef,
        flamingo_bridge,
        torchvision_encoder,
        vit_start,
        bert_start,
        ridge,
        min_dalle,
    )
} | {name: of_fusion(name) for name in RELEASED}


WEIGHED = (
    "flamingo_bridge",
    "torchvision_encoder",
    "vit_start",
    "bert_start",
    "ridge",
    "salesforce",
    "openai_tensors",
    "lxmert",
    "albef",
    "min_dalle",
    *RELEASED,
)


def files_of(where: Path) -> list[str]:
    return sorted(str(file.relative_to(where)) for file in where.rglob("*") if file.is_file())


def every_change(where: Path, layout: str) -> list[Change]:
    """All changes of all files; of a tokenizer's those of its outermost settings, since its words are no settings. Those of each tensor
    where the weights are the settings: their shapes say what the network is."""
    deep = {"tokenizer.json": 2}
    changes = [change for file in files_of(where) for change in changes_of(where, file, deep.get(file, 4))]
    weights = [file for file in files_of(where) if file.endswith(WEIGHTS) and layout in WEIGHED]
    weights = [file for file in weights if file != "spiece.model"]
    return changes + [change for file in weights for change in tensor_changes(where, file)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_some_changes(layout: str, tmp_path: Path) -> None:
    loader = LAYOUTS[layout](tmp_path / "model")
    loader(tmp_path / "model")
    assert not faults(tmp_path / "model", loader, sample(every_change(tmp_path / "model", layout), 20))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_setting_changed_once(layout: str, tmp_path: Path) -> None:
    loader = LAYOUTS[layout](tmp_path / "model")
    changes = every_change(tmp_path / "model", layout)
    each = {(one.file, one.path): one for one in sample(changes, len(changes), seed=1)}
    most = 150 if layout in WEIGHED else len(each)  # of many tensors alike
    assert not faults(tmp_path / "model", loader, list(each.values())[:most])


def with_tensor(where: Path, name: str, tensor: torch.Tensor) -> None:
    tensors = load_file(where / "model.safetensors")
    save_file({**tensors, name: tensor}, where / "model.safetensors")


@pytest.mark.parametrize(("shape", "kind", "said"), [
    ((3,), torch.float32, "does not fit this system"), ((0, 32), torch.float32, "does not fit this system"),
    ((24, 32), torch.int8, "quantised"), ((24, 32), torch.bool, "quantised"),
])  # fmt: skip
def test_a_tensor_of_another_shape_or_type(
    tmp_path: Path, shape: tuple[int, ...], kind: torch.dtype, said: str
) -> None:
    clip_folder(tmp_path)
    with_tensor(tmp_path, "text_projection.weight", torch.zeros(shape, dtype=kind))
    with pytest.raises(Mistake, match=said):
        pairloom.load(tmp_path)


@pytest.mark.parametrize(("part", "key", "value", "said"), [
    ("text_config", "num_hidden_layers", 10**6, "much larger than its weights"),
    ("text_config", "num_hidden_layers", 10**9, "'text_config.num_hidden_layers' in .* is 1000000000"),
    ("vision_config", "hidden_size", "many", r"'vision_config.hidden_size' in .* is 'many'.\nIt should be a whole number"),
    ("vision_config", "patch_size", 0, "It should be a whole number from 1"),
    ("text_config", "layer_norm_eps", float("nan"), "'text_config.layer_norm_eps' in .* is NaN"),
    ("text_config", "max_position_embeddings", 1 << 23, "much larger than its weights"),
])  # fmt: skip
def test_the_setting_is_named(tmp_path: Path, part: str, key: str, value: object, said: str) -> None:
    """Its file, its name, what stands there and what should; a network that is larger than its file is never built."""
    clip_folder(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document[part][key] = value
    (tmp_path / "config.json").write_text(json.dumps(document))
    with limits(), pytest.raises(Mistake, match=said):
        pairloom.load(tmp_path)
