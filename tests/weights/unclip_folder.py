"""A small unCLIP pipeline as diffusers writes it, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffused import LENGTH, text_encoder, tokenizer
from diffusers import PriorTransformer, UnCLIPPipeline, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from published import scatter
from transformers import CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

WIDTH = 32


def decoder() -> Any:
    return UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=6, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=24,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", resnet_time_scale_shift="scale_shift", class_embed_type="identity",
    )  # fmt: skip


def enlarger() -> Any:
    return UNet2DModel(
        sample_size=16, in_channels=6, out_channels=3, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D",) * 2, up_block_types=("ResnetUpsampleBlock2D",) * 2,
        add_attention=False, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip


def image_encoder() -> Any:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=WIDTH,
    )  # fmt: skip
    encoder = CLIPVisionModelWithProjection(config).eval()
    scatter(encoder, 7)
    return encoder


def unclip_folder(where: Path, images: bool = False) -> Any:
    """A folder of UnCLIPPipeline; the pipeline itself. images: with CLIP's image side, as the pipeline of variations has it."""
    ids = tokenizer(where.with_name(where.name + "-ids"))
    text = text_encoder(ids, WIDTH, CLIPTextModelWithProjection, projection_dim=WIDTH)
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, num_layers=2, embedding_dim=WIDTH, num_embeddings=LENGTH
    )
    extra = UnCLIPTextProjModel(clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=24)
    parts = {
        "prior": prior,
        "decoder": decoder(),
        "text_proj": extra,
        "super_res_first": enlarger(),
        "super_res_last": enlarger(),
    }
    for seed, part in enumerate((text, *parts.values())):
        scatter(part.eval(), seed)
    with torch.no_grad():
        prior.clip_std.abs_().add_(0.5)
    schedules = {
        "prior_scheduler": UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0),
        "decoder_scheduler": UnCLIPScheduler(variance_type="learned_range"),
        "super_res_scheduler": UnCLIPScheduler(),
    }
    pipe = UnCLIPPipeline(text_encoder=text, tokenizer=ids, **parts, **schedules)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(where)
    if images:
        image_encoder().save_pretrained(where / "image_encoder")
    return pipe
