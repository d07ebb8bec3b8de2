"""Models of a hub: what is fetched, what is found in the cache, and a cache that holds only a part.

The commands run in processes of their own, as huggingface_hub reads the address of its hub when it is imported.
`python -m experiments.hub_versions` runs this file with other versions of the library, which lie in the folder HUB_CLIENT.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from hub import COMMIT, hub  # noqa: E402
from published import clip_folder  # noqa: E402

from pairloom.checkpoints.names import lacking  # noqa: E402
from pairloom.weights._hub import wanted_weights  # noqa: E402

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


def run(address: str, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of pairloom with this hub and this cache."""
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}
    environment = {key: value for key, value in environment.items() if "proxy" not in key.lower()}
    paths = [os.environ.get("HUB_CLIENT", ""), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, "-m", "pairloom", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_model_is_imported_from_a_hub_and_found_in_the_cache_afterwards(tmp_path: Path) -> None:
    """Every repository has a README; half-precision and pickled copies, and what is no weight, stay there. A cache that holds
    only the tokenizer is no model until the rest is fetched."""
    folder = tmp_path / "hub" / "acme" / "tiny"
    clip_folder(folder)
    (folder / "README.md").write_text("# A model\n")
    for name in ("pytorch_model.bin", "model.fp16.safetensors", "flax_model.msgpack", "onnx/model.onnx"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not to be fetched")
    home = tmp_path / "home"
    snapshot = home / "hub" / "models--acme--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT)
    with hub(tmp_path / "hub") as (address, fetched):
        part = run(address, home, "import", "acme/tiny", "--out", tmp_path / "a")
        assert part.returncode == 2 and "holds only a part of acme/tiny" in part.stderr and not fetched
        whole = run(address, home, "import", "acme/tiny", "--download", "--out", tmp_path / "b")
        assert whole.returncode == 0, whole.stderr
        assert {"config.json", "model.safetensors"} <= set(fetched)
        assert not {
            "pytorch_model.bin",
            "model.fp16.safetensors",
            "flax_model.msgpack",
            "onnx/model.onnx",
            "README.md",
        } & set(fetched)
    again = run("http://127.0.0.1:9", home, "import", "acme/tiny", "--out", tmp_path / "c")
    assert again.returncode == 0, again.stderr
    for name in FILES:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


PIPELINE = {
    "unet": ["diffusers", "U"],
    "vae": ["diffusers", "V"],
    "text_encoder": ["transformers", "T"],
    "safety_checker": ["x", "y"],
}
STABLE = [
    "model_index.json", "v1-5-pruned.safetensors", "v1-5-pruned-emaonly.ckpt", "README.md",
    *(f"{part}/{stem}{variant}.{kind}" for part, stem in (
        ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model"), ("safety_checker", "model"),
    ) for variant in ("", ".fp16", ".non_ema") for kind in ("safetensors", "bin")),
]  # fmt: skip


def test_of_a_pipeline_each_part_is_fetched_once(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(PIPELINE))
    stems = [
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ]
    assert wanted_weights(STABLE, tmp_path) == [f"{part}/{stem}.safetensors" for part, stem in stems]
    half = [name for name in STABLE if ".fp16" in name or "model_index" in name]
    assert wanted_weights(half, tmp_path) == [f"{part}/{stem}.fp16.safetensors" for part, stem in stems]


def test_of_shards_all_are_fetched_and_missed(tmp_path: Path) -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    names = ["model.safetensors.index.json", *shards, "pytorch_model.bin"]
    assert wanted_weights(names, tmp_path) == shards
    (tmp_path / shards[0]).touch()
    assert lacking(tmp_path) == [shards[1]]
    (tmp_path / shards[1]).touch()
    assert lacking(tmp_path) == []


@pytest.mark.parametrize("names, wanted", [
    (["open_clip_config.json", "model.safetensors", "open_clip_pytorch_model.bin", "config.json"], ["open_clip_pytorch_model.bin"]),
    (["config.json", "pytorch_model.bin", "model.bf16.safetensors"], ["pytorch_model.bin"]),
    (["config.json", "model.bf16.safetensors"], ["model.bf16.safetensors"]),
    (["checkpoint.pt"], ["checkpoint.pt"]),
    (["a.safetensors", "b.ckpt"], ["a.safetensors"]),
    (["README.md"], []),
])  # fmt: skip
def test_one_set_of_weights_is_chosen(names: list[str], wanted: list[str], tmp_path: Path) -> None:
    assert wanted_weights(names, tmp_path) == wanted
