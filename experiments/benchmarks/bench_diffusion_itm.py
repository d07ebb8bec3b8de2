"""DiffusionITM: races on a model of the drawn world, and its speed against the released loop. It needs no published weights.

    python -m experiments.claims diffusion --out DIR                                       # trains the models (and tests the claims)
    python experiments/benchmarks/bench_diffusion_itm.py record --model DIR/diffusion/seed-0/diffusion --out ERRORS.npz
    python experiments/benchmarks/bench_diffusion_itm.py race ERRORS.npz                  # races over what was recorded
    python experiments/benchmarks/bench_diffusion_itm.py clock --model DIR/diffusion/seed-0/diffusion   # processor, loop and race
    python experiments/benchmarks/bench_diffusion_itm.py wall                             # clock against the released loop

record: the errors at all 245 steps for held-out pictures: 37 texts of a picture ("red ball"), 10 texts of a picture, and
pairs of scenes with exchanged colours. race: the same decisions by racing, compared with all 245 steps and with fixed
budgets; a schedule is learnt on other cases than those of the races.
wall: a pipeline of random weights whose parts have the relative costs of Stable Diffusion's (the autoencoder costs as much
as a step); the loop encodes the picture at every step and scores one pair at a time.
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

import pairloom
from experiments.claims import diffusion as world
from pairloom.data.tokens import Tokens
from pairloom.metrics.compare import wilson
from pairloom.tasks.denoise import DenoisingScorer, decide, grid, learnt_schedule
from pairloom.tasks.race import race, spread
from pairloom.tasks.schedule import Schedule

FULL, CLASSES, SEED = 245, 37, 77
DELTAS = (0.05, 0.01, 0.2, 0.002)


def record(where: Path, out: Path, counts: tuple[int, int, int], seed: int) -> None:
    """Write ways37 [n 37 245] and ways10 [n 10 245], the errors of a picture's texts, the first its own; and for pairs of scenes
    with exchanged colours own [n 2 2 245] (picture, text) and empty [n 2 245]."""
    model = pairloom.load(where)
    singles = world.scenes(400, seed, "classes", lambda scene: len(scene.things) == 1)
    shown = world.pictures(singles, model.config.image_size)
    names = list(dict.fromkeys(shown.texts))[:CLASSES]
    rows = [row for row, text in enumerate(shown.texts) if text in names][: counts[0]]
    order = [
        [names.index(shown.texts[row]), *(at for at, name in enumerate(names) if name != shown.texts[row])]
        for row in rows
    ]
    tables = {"ways37": _errors(model, shown.pixels[rows], names, order)[0]}
    held = world.pictures(world.scenes(counts[1], seed, "held"), model.config.image_size)
    tables["ways10"] = _errors(model, held.pixels, held.texts, world.choices(held, 10, seed).tolist())[0]
    first = world.scenes(counts[2], seed, "exchanged", world.two_sorts)
    both = world.pictures(
        [scene for one in first for scene in (one, world.exchanged(one))], model.config.image_size
    )
    four = [[row // 2 * 2, row // 2 * 2 + 1] for row in range(len(both.texts))]
    own, empty = _errors(model, both.pixels, both.texts, four, prior=True)
    tables |= {"own": own.reshape(-1, 2, 2, FULL), "empty": empty[:, 0].reshape(-1, 2, FULL)}
    np.savez(out, **tables)


def _errors(model: Any, pixels: np.ndarray, texts: Any, order: Any, prior: bool = False) -> Any:
    """Errors of each picture's texts [n C 245], and of the empty text."""
    images = [Image.fromarray(one) for one in pixels]
    pairs = [(row, text) for row, chosen in enumerate(order) for text in chosen]
    errors = DenoisingScorer(model, steps=FULL, rows=128).errors(images, texts, pairs, prior=prior)
    return [one.reshape(len(pixels), -1, FULL) for one in errors]


def sorts(file: Path) -> dict[str, list[np.ndarray]]:
    """Scores [pictures C 245] of the cases of each sort; the right candidate is the first. From 37 candidates there are four
    cases of ten: the right one with nine others, all different. Two pictures give a case for each."""
    scores = {name: -table.astype(np.float64) for name, table in np.load(file).items()}
    wide, own, empty = scores["ways37"], scores["own"], scores["empty"]
    tens = np.stack([wide[:, [0, *range(first, first + 9)]] for first in (1, 10, 19, 28)], 1)
    less = own - empty[:, :, None]
    turned = np.stack([own, own[:, ::-1, ::-1]], 1)[:, :, 0]  # texts of either picture, its own first
    among = np.stack([less, less[:, ::-1, ::-1]], 1)[:, :, :, 0]  # pictures of either text
    return {
        "10 texts of a scene": list(scores["ways10"][:, None]), "10 texts of a thing": list(tens),
        "37 texts of a thing": list(wide[:, None]), "2 texts, colours exchanged": list(turned),
        "2 pictures, colours exchanged": list(among),
    }  # fmt: skip


def raced(file: Path) -> None:
    """Race the cases of each half of the pictures, with a schedule that is learnt on the other half."""
    for name, groups in sorts(file).items():
        half = len(groups) // 2
        parts = [[case for group in part for case in group] for part in (groups[:half], groups[half:])]
        results: dict[str, list[Any]] = {}
        for learn, test in (parts, parts[::-1]):
            schedule = Schedule.learnt(learn)
            for delta in DELTAS:
                _note(results, f"schedule, delta {delta}", test, *_race(test, delta, schedule))
            for delta in DELTAS[:2]:
                _note(results, f"t-tests, delta {delta}", test, *_race(test, delta, None))
            for budget in (10, 30, 100):
                _note(results, f"fixed {budget}", test, *_fixed(test, spread(FULL)[:budget]))
            for budget in (10, 30):
                _note(
                    results,
                    f"fixed {budget}, in the schedule's order",
                    test,
                    *_foreseen(test, schedule, budget),
                )
        for way, rows in results.items():
            print(json.dumps({"cases": name, "way": way, **_summed(rows)}), flush=True)


def _race(test: list[np.ndarray], delta: float, schedule: Schedule | None) -> tuple[list[int], int]:
    order = spread(FULL) if schedule is None else schedule.order
    decisions = race(
        lambda at, jobs: np.array([test[case][other, order[at]] for case, other in jobs]),
        [len(case) for case in test], FULL, delta=delta, schedule=schedule,
        places=list(order) if schedule is None else None,
    )  # fmt: skip
    return [one.winner for one in decisions], sum(int(one.rounds.sum()) for one in decisions)


def _fixed(test: list[np.ndarray], rounds: list[int]) -> tuple[list[int], int]:
    return [int(case[:, rounds].mean(1).argmax()) for case in test], len(rounds) * sum(map(len, test))


def _foreseen(test: list[np.ndarray], schedule: Schedule, budget: int) -> tuple[list[int], int]:
    rounds = schedule.order[:budget]
    best = [int(schedule.sums(schedule.innovations(case[:, rounds])).argmax()) for case in test]
    return best, budget * sum(map(len, test))


def _note(
    rows: dict[str, list[Any]], way: str, test: list[np.ndarray], best: list[int], evaluations: int
) -> None:
    full = [int(case.mean(1).argmax()) for case in test]
    rows.setdefault(way, []).append((best, full, evaluations, FULL * sum(map(len, test))))


def _summed(rows: list[Any]) -> dict[str, Any]:
    best, full = (np.concatenate([row[at] for row in rows]) for at in (0, 1))
    evaluations, all_ = (sum(row[at] for row in rows) for at in (2, 3))
    return {
        "decisions": len(best), "same": _share(best == full), "right": _share(best == 0), "all steps right": _share(full == 0),
        "evaluations a candidate": round(FULL * evaluations / all_, 1), "fewer": round(all_ / evaluations, 1),
    }  # fmt: skip


def _share(right: np.ndarray) -> list[float]:
    interval = wilson(int(right.sum()), len(right))
    return [round(number, 3) for number in (interval.value, interval.low, interval.high)]


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pipeline(where: Path) -> Any:
    """A pipeline with random weights at 64 px, whose autoencoder and UNet cost about the same."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from pairloom.data import byte_pairs
    from pairloom.data.roles import END, START, WORD_END

    letters = byte_pairs._letters()
    words = [
        *letters,
        *(letter + WORD_END for letter in letters),
        START,
        END,
    ]
    ids = where / "ids"
    ids.mkdir()
    Tokens(byte_pairs.assemble({word: row for row, word in enumerate(words)}, [])).save(ids)
    ends = {
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
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
    """The released loop: one pair after another, with picture and texts encoded again each time."""
    bank = torch.randn(FULL, 4, 16, 16)
    errors = np.zeros((len(images), len(texts)))
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
                output = pipe.unet(
                    noisy.expand(len(wanted), -1, -1, -1), t, encoder_hidden_states=context
                ).sample
                left = (bank[step] - output).flatten(1).norm(dim=1)
                norms.append(float(left[-1] - (left[0] if normal else 0)))
            errors[at, column] = -np.mean(norms)
    return errors


def wall(count: int, normals: tuple[bool, ...] = (False, True)) -> None:
    """Wall and CPU seconds for `count` pictures by ten texts, with random weights: the released loop, all steps at once, and at
    245 steps the race, whose schedule is learnt on eight other pictures by five texts (its time is listed apart)."""
    texts = [f"a picture of number {number}" for number in range(10)]
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count + 8, 64, 64, 3), dtype=np.uint8)
    images = [Image.fromarray(one) for one in pixels]
    cases = [[(image, text) for text in range(10)] for image in range(count + 8)]
    with tempfile.TemporaryDirectory() as work:
        pipe = pipeline(Path(work))
        model = pairloom.load(Path(work) / "pipe")
        for steps, normal in ((steps, normal) for steps in (10, 250) for normal in normals):
            # two pairs stand for all: each costs the same
            _, loop = _timed(released, pipe, images[:1], texts[:2], steps, normal)
            scorer = DenoisingScorer(model, steps=steps, protocol="published", alpha=float(normal), rows=128)
            pairs = [pair for case in cases[:count] for pair in case]
            seconds = {"loop": loop * 5 * count, "all steps": _timed(scorer.scores, images, texts, pairs)[1]}
            if steps == 250 and not normal:
                some, most = [case[:5] for case in cases[count:]], cases[:count]
                told_once = _timed(learnt_schedule, scorer, images, texts, some, antithetic=False)
                options = {"antithetic": False, "schedule": told_once[0]}
                decisions, seconds["race"] = _timed(decide, scorer, images, texts, most, **options)
                seconds["learning"] = told_once[1]
                print(json.dumps({"evaluations of a candidate": [one.rounds.mean() for one in decisions]}))
            rounded = {name: [round(float(one), 1) for one in both] for name, both in seconds.items()}
            among = "pictures" if normal else "texts"
            print(json.dumps({"steps": len(scorer.denoiser.times), "among": among, **rounded}), flush=True)


def _timed(do: Any, *arguments: Any, **options: Any) -> tuple[Any, np.ndarray]:
    """Result of a call, with its wall and CPU seconds."""
    began, used = time.perf_counter(), cpu()
    result = do(*arguments, **options)
    return result, np.array([time.perf_counter() - began, cpu() - used])


def clock(where: Path, count: int = 40, learnt: int = 12) -> dict[str, Any]:
    """CPU seconds for one picture by ten texts on a trained model: the loop with the released batches of four (a pass for each
    text and timestep, with picture and text encoded again), all steps at once, and the race. The schedule is learnt once, on
    other pictures; its time is listed apart."""
    model = pairloom.load(where)
    held = world.pictures(world.scenes(count + learnt, SEED + 1, "held"), model.config.image_size)
    images = [Image.fromarray(one) for one in held.pixels]
    cases = [[(int(row[0]), int(other)) for other in row] for row in world.choices(held, 10, SEED)]
    pairs = [pair for case in cases[:4] for pair in case]
    seconds: dict[str, Any] = {}
    for steps in (10, FULL):
        began = cpu()
        _four(model, held.pixels[:4], [held.texts[:4], held.texts[4:8]], steps)
        loop = (cpu() - began) / 8 * 10
        began = cpu()
        DenoisingScorer(model, steps=steps, rows=128).scores(images, held.texts, pairs, alpha=0.0)
        cached = (cpu() - began) / 4
        seconds[f"{steps} steps"] = {"loop": loop, "cached": cached, "times": loop / cached}
    scorer = DenoisingScorer(model, steps=FULL, rows=128)
    began = cpu()
    schedule = learnt_schedule(scorer, images, held.texts, cases[count:], antithetic=False)
    seconds["learning the schedule, once"] = cpu() - began
    for delta in (0.05, 0.01):
        began = cpu()
        decisions = decide(
            scorer, images, held.texts, cases[:count], delta=delta, antithetic=False, schedule=schedule
        )
        race_ = (cpu() - began) / count
        rounds = sum(int(one.rounds.sum()) for one in decisions) / count / 10
        seconds[f"{FULL} steps by racing, delta {delta}"] = {
            "race": race_, "times": loop / race_, "evaluations a candidate": rounds,
        }  # fmt: skip
    return seconds


@torch.no_grad()
def _four(model: Any, pixels: np.ndarray, columns: list[Any], steps: int) -> None:
    """The released loop for four pictures: one candidate after another, one timestep after another."""
    noise = torch.randn(steps, *model.system.latent)
    for texts in columns:
        encoded = model.texts(list(texts))
        conditioning = model.system.text(encoded.ids, encoded.mask)
        for step, t in enumerate(grid(steps)):
            images = torch.from_numpy(model.pixels.normalise(pixels))
            latents, _ = model.system.posterior(images)
            times = torch.full((len(pixels),), t)
            left = model.system.residual(latents, times, noise[step].expand_as(latents), conditioning)
            left.half().flatten(1).norm(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(dest="what", required=True)
    recorded = jobs.add_parser("record")
    recorded.add_argument("--model", type=Path, required=True)
    recorded.add_argument("--out", type=Path, required=True)
    recorded.add_argument(
        "--counts", type=int, nargs=3, default=(40, 80, 40), help="pictures of each sort of case"
    )
    recorded.add_argument("--seed", type=int, default=77, help="of the pictures")
    jobs.add_parser("race").add_argument("file", type=Path)
    jobs.add_parser("clock").add_argument("--model", type=Path, required=True)
    jobs.add_parser("wall").add_argument("--texts", action="store_true", help="only among texts")
    args = parser.parse_args()
    if args.what == "record":
        record(args.model, args.out, tuple(args.counts), args.seed)
    elif args.what == "race":
        raced(args.file)
    elif args.what == "clock":
        print(json.dumps(clock(args.model), indent=1))
    else:
        wall(2, (False,) if args.texts else (False, True))


if __name__ == "__main__":
    main()
