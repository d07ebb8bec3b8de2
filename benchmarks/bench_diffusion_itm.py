"""DiffusionITM on a model trained on the drawn world, and against the loop that was released. No weights, no network.

    python benchmarks/bench_diffusion_itm.py world --seeds 3      # train, judge both ways, race against all 245 steps
    python benchmarks/bench_diffusion_itm.py train --seeds 1 --models DIR  # only train, and keep
    python benchmarks/bench_diffusion_itm.py wall                 # wall clock against the released loop, 10 and 245 steps

world: scenes of one thing of the drawn world ("red tree") at 16 px, a pixel model of the preset `drawn`; 10-way among held-out pictures and texts:
texts of a picture, pictures of a text raw (alpha 0) and less the empty text's error (alpha 1), with Wilson's intervals;
then the same decisions by racing, with the network's evaluations against those of all 245 steps, beside fixed budgets.
wall: a pipeline of random weights whose parts cost in proportion as Stable Diffusion's do (the autoencoder as much as a
step); the loop encodes the picture at every step and asks one pair at a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pairloom.data.loader import Held, Loader, TextTable
from pairloom.data.tokens import Tokens
from pairloom.data.world import World, caption, draw
from pairloom.metrics.compare import wilson
from pairloom.model import Model, build, load, save
from pairloom.systems.latent_diffusion import PIXELS, RECIPES
from pairloom.tasks.denoise import DenoisingScorer, grid
from pairloom.tasks.race import race, spread
from pairloom.train.loop import fit
from pairloom.train.settings import Settings

SIDE, WAYS, FULL = 16, 10, 245


def pictures(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Drawn scenes of one thing [n 16 16 3] with terse texts: "red tree"."""
    world, scenes, index = World(1 << 30, seed, "simple", 2 * SIDE), [], 0
    while len(scenes) < count:
        scene = world.scene(index)
        scenes += [scene] if len(scene.things) == 1 else []
        index += 1
    large = np.stack([draw(scene, 2 * SIDE) for scene in scenes]).astype(np.float32)
    small = large.reshape(count, SIDE, 2, SIDE, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return small, [caption(scene, "terse") for scene in scenes]


def train(seed: int, pairs: int, steps: int) -> tuple[Model, float, float]:
    """A model, CPU seconds and its last loss."""
    pixels, texts = pictures(pairs, 1000 + seed)
    tokens = Tokens.train(texts, 512)
    model = build("latent_diffusion", tokens, "drawn", seed=seed)
    table = TextTable.of(tokens, [[text] for text in texts], model.config.length)
    settings = Settings(**{**RECIPES["drawn"], "steps": steps, "seed": seed, "log_every": 100})  # type: ignore[arg-type]
    began = cpu()
    done = fit(model.system, Loader(Held(pixels, **PIXELS), table), settings)
    return model, cpu() - began, done.lines[-1]["loss"]


def cases(texts: list[str], count: int, ways: int, seed: int) -> np.ndarray:
    """[count ways]: a row and others whose text is not its own."""
    random = np.random.default_rng(seed)
    made = []
    for row in range(count):
        other = [at for at, text in enumerate(texts) if text != texts[row]]
        made.append([row, *random.choice(other, ways - 1, replace=False)])
    return np.array(made)


def shares(right: np.ndarray) -> list[float]:
    found = wilson(int(right.sum()), len(right))
    return [round(number, 3) for number in (found.value, found.low, found.high)]


def judged(model: Model, count: int) -> dict[str, Any]:
    """10-way in both directions from one pass of the errors."""
    pixels, texts = pictures(300, 9)
    images = [Image.fromarray(one) for one in pixels]
    table = cases(texts, count, WAYS, 5)
    scorer = DenoisingScorer(model, steps=20, rows=128)
    to_text = [(int(row[0]), int(other)) for row in table for other in row]
    to_image = [(int(other), int(row[0])) for row in table for other in row]
    own, empty = scorer.errors(images, texts, to_text + to_image)
    raw = -own.mean(1).reshape(2, count, WAYS)
    less = raw + empty.mean(1).reshape(2, count, WAYS)
    return {
        "texts": shares(less[0].argmax(1) == 0),
        "pictures raw": shares(raw[1].argmax(1) == 0),
        "pictures": shares(less[1].argmax(1) == 0),
        "chance": 1 / WAYS,
        "cost": scorer.cost,
    }


def raced(model: Model, count: int, ways: int) -> dict[str, Any]:
    """Races over the table of all steps, so that every delta is compared with the very decision that all steps make."""
    pixels, texts = pictures(300, 9)
    images = [Image.fromarray(one) for one in pixels]
    table = cases(texts, count, ways, 6)
    scorer = DenoisingScorer(model, steps=FULL, rows=128)
    pairs = [(int(row[0]), int(other)) for row in table for other in row]
    scores = (
        -scorer.errors(images, texts, pairs, prior=False)[0].reshape(count, ways, FULL).astype(np.float64)
    )
    order, full = spread(FULL), scores.mean(2).argmax(1)
    found: dict[str, Any] = {"ways": ways, "decisions": count, "right at all steps": shares(full == 0)}
    for delta in (0.2, 0.05, 0.005):
        made = race(
            lambda at, jobs: np.array([scores[case, other, order[at]] for case, other in jobs]),
            [ways] * count, FULL, delta=delta, places=order,
        )  # fmt: skip
        best = np.array([one.winner for one in made])
        asked = sum(int(one.rounds.sum()) for one in made)
        found[f"race {delta}"] = {
            "same": round(float((best == full).mean()), 4), "right": shares(best == 0),
            "calls a candidate": round(asked / count / ways, 1), "fewer": round(scores.size / asked, 1),
        }  # fmt: skip
    for budget in (10, 30, 100):
        best = scores[:, :, order[:budget]].mean(2).argmax(1)
        found[f"fixed {budget}"] = {
            "same": round(float((best == full).mean()), 4),
            "right": shares(best == 0),
        }
    return found


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pipeline(where: Path) -> Any:
    """Random weights at 64 px: an autoencoder and a UNet that cost about the same."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from pairloom.data import byte_pairs

    letters = byte_pairs._letters()
    words = [
        *letters,
        *(letter + byte_pairs.WORD_END for letter in letters),
        byte_pairs.START,
        byte_pairs.END,
    ]
    ids = where / "ids"
    ids.mkdir()
    Tokens(byte_pairs.assemble({word: row for row, word in enumerate(words)}, [])).save(ids)
    ends = {
        "bos_token": byte_pairs.START,
        "eos_token": byte_pairs.END,
        "unk_token": byte_pairs.END,
        "pad_token": byte_pairs.END,
    }
    (ids / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **ends})
    )
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 64), norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, cross_attention_dim=64, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    beta = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    pipe = StableDiffusionPipeline(
        vae.eval(), CLIPTextModel(text).eval(), CLIPTokenizer.from_pretrained(ids), unet.eval(),
        PNDMScheduler(**beta, skip_prk_steps=True), None, None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(where / "pipe")
    return pipe


@torch.no_grad()
def released(pipe: Any, images: list[Image.Image], texts: list[str], steps: int, normal: bool) -> np.ndarray:
    """One pair after another, the picture and the texts encoded anew, as the released loop does."""
    bank = torch.randn(FULL, 4, 16, 16)
    found = np.zeros((len(images), len(texts)))
    for at, image in enumerate(images):
        picture = torch.from_numpy(np.asarray(image.resize((64, 64)), np.float32) / 127.5 - 1).permute(
            2, 0, 1
        )[None]
        for column, text in enumerate(texts):
            wanted = ["", text] if normal else [text]
            ids = pipe.tokenizer(wanted, padding="max_length", truncation=True, return_tensors="pt").input_ids
            context = pipe.text_encoder(ids)[0]
            norms = []
            for step, t in enumerate(grid(steps, "released")):
                latent = pipe.vae.encode(picture).latent_dist.sample() * pipe.vae.config.scaling_factor
                noisy = pipe.scheduler.add_noise(latent, bank[step][None], torch.tensor([t]))
                said = pipe.unet(
                    noisy.expand(len(wanted), -1, -1, -1), t, encoder_hidden_states=context
                ).sample
                left = (bank[step] - said).flatten(1).norm(dim=1)
                norms.append(float(left[-1] - (left[0] if normal else 0)))
            found[at, column] = -np.mean(norms)
    return found


def wall(count: int) -> dict[str, Any]:
    """Seconds (by the clock, and of the processor) for `count` pictures by ten texts: released loop, cached pass."""
    import pairloom

    texts = [f"a picture of number {number}" for number in range(10)]
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(count)]
    pairs = [(image, text) for image in range(count) for text in range(10)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        pipe = pipeline(Path(work))
        model = pairloom.load(Path(work) / "pipe")
        for steps in (10, 250):
            for normal in (False, True):
                began, used = time.perf_counter(), cpu()
                released(
                    pipe, images[:1], texts[:2], steps, normal
                )  # two pairs stand for all: each costs the same
                literal = np.array([time.perf_counter() - began, cpu() - used]) / 2 * len(pairs)
                scorer = DenoisingScorer(
                    model, steps=steps, protocol="published", alpha=float(normal), rows=128
                )
                began, used = time.perf_counter(), cpu()
                scorer.scores(images, texts, pairs)
                cached = np.array([time.perf_counter() - began, cpu() - used])
                name = f"{len(scorer.asked.times)} steps, {'pictures' if normal else 'texts'}"
                numbers = (literal, cached, literal / cached)
                told = ("released_wall_cpu_s", "cached_wall_cpu_s", "times")
                found[name] = {
                    one: [round(float(value), 1) for value in two] for one, two in zip(told, numbers)
                }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["world", "train", "wall"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=int(RECIPES["drawn"]["steps"]))  # type: ignore[call-overload]
    parser.add_argument("--models", type=Path, help="a folder: models are kept there, and found again")
    parser.add_argument("--cases", type=int, default=80)
    args = parser.parse_args()
    if args.what == "wall":
        print(json.dumps(wall(2)))
        return
    for seed in range(args.first, args.first + args.seeds):
        kept = args.models / str(seed) if args.models else None
        if kept is not None and kept.exists():
            model = load(kept)
        else:
            model, seconds, loss = train(seed, args.pairs, args.steps)
            print(
                json.dumps({"seed": seed, "steps": args.steps, "cpu_s": round(seconds), "loss": loss}),
                flush=True,
            )
            if kept is not None:
                save(model, kept)
        if args.what == "train":
            continue
        print(json.dumps({"seed": seed, **judged(model, args.cases)}), flush=True)
        for ways, count in ((10, 40), (2, 100)):
            print(json.dumps({"seed": seed, **raced(model, count, ways)}), flush=True)


if __name__ == "__main__":
    main()
