"""Small pipelines as diffusers writes them, with random weights: what the tests of diffusion read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from published import clip_tokens, scatter
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LENGTH = 20
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
OWN = {
    "PNDMScheduler": {"skip_prk_steps": True},
    "DDIMScheduler": {"clip_sample": False, "set_alpha_to_one": False},
}


def tokenizer(where: Path, pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer with a few merges, as a folder that transformers loads."""
    where.mkdir(parents=True)
    clip_tokens().save(where)
    ends = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **ends}
    (where / "tokenizer_config.json").write_text(json.dumps(told))
    return CLIPTokenizer.from_pretrained(where)


def text_encoder(ids: Any, width: int, kind: type, **more: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(ids), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=LENGTH, bos_token_id=ids.bos_token_id, eos_token_id=ids.eos_token_id,
        pad_token_id=ids.pad_token_id, **more,
    )  # fmt: skip
    return kind(config).eval()


def pipeline_folder(
    where: Path, scheduler: str = "PNDMScheduler", prediction: str = "epsilon", xl: bool = False, **unet: Any
) -> Any:
    """A folder of StableDiffusionPipeline (or XL) with pictures of 32 px; the pipeline itself."""
    ids = tokenizer(where.with_name(where.name + "-ids"))
    vae = AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    text = text_encoder(ids, 32, CLIPTextModel)
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 2,
    }  # fmt: skip
    if xl:
        blocks |= {
            "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True,
            "projection_class_embeddings_input_dim": 6 * 8 + 24,
        }  # fmt: skip
    network = UNet2DConditionModel(sample_size=16, cross_attention_dim=80 if xl else 32, **(blocks | unet))
    for seed, part in enumerate((vae, text, network)):
        scatter(part, seed)
    made = getattr(diffusers, scheduler)(**SD, **OWN.get(scheduler, {}), prediction_type=prediction)
    common = {"vae": vae, "text_encoder": text, "tokenizer": ids, "unet": network, "scheduler": made}
    if xl:
        second = text_encoder(ids, 48, CLIPTextModelWithProjection, projection_dim=24)
        scatter(second, 5)
        padded = tokenizer(where.with_name(where.name + "-ids-2"), "!")
        pipe = StableDiffusionXLPipeline(**common, text_encoder_2=second, tokenizer_2=padded)
    else:
        pipe = StableDiffusionPipeline(
            **common, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(where)
    return pipe
