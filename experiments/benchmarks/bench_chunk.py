"""Memory and time of one contrastive gradient, the batch embedded whole or in chunks (train/chunks.py), one thread.

    python experiments/benchmarks/bench_chunk.py                                   # CLIP ViT-B/32, batch 32, about two CPU minutes and 4 GiB
    python experiments/benchmarks/bench_chunk.py --preset tiny --batch 4096 --chunks 64 512

Each chunk size is measured in a process of its own; memory is its largest resident set. "before" is the memory of the
weights, their gradients, the batch and torch itself, after a first gradient of two rows; "the step" is what the forward and
backward pass of the batch need beyond it. Time is CPU time. The norm of the gradient is printed to show that it is the same.
Pixels and words are random; neither memory nor time depends on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from pairloom.data.batch import Batch, Texts
from pairloom.systems.clip import PRESETS, System
from pairloom.train.chunks import losses_in_chunks


def resident() -> float:
    """Largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(preset: str, rows: int, chunk: int) -> dict[str, float]:
    """Compute one gradient in this process, and measure it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = PRESETS[preset]
    system = System(config).train()
    images = torch.rand(rows, 1, 3, config.image_size, config.image_size)
    tokens = torch.randint(5, config.vocabulary - 5, (rows, config.length))
    tokens[:, 0], tokens[:, -1] = config.cls, config.sep
    batch = Batch(images=images, texts=Texts.unpadded(tokens))

    def gradient(batch: Batch) -> float:
        system.zero_grad(set_to_none=False)
        losses = losses_in_chunks(system, batch, chunk) if chunk else system.losses(batch)
        losses["contrast"].backward()
        norms = [value.grad.norm() for value in system.parameters() if value.grad is not None]
        return float(torch.stack(norms).norm())

    gradient(Batch(images=images[:2], texts=Texts.unpadded(tokens[:2])))
    before, began = resident(), time.process_time()
    norm = gradient(batch)
    return {
        "before": before,
        "the step": resident() - before,
        "cpu_s": time.process_time() - began,
        "norm": norm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="ViT-B-32", choices=[*PRESETS])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--chunks", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # the process of one way
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(step(args.preset, args.batch, args.only)))
        return
    print(f"CLIP {args.preset}, batch {args.batch}: MiB at the most, CPU s")
    print(f"{'chunk':>8s}{'before':>9s}{'the step':>10s}{'CPU s':>8s}{'norm':>12s}   step / whole")
    whole: dict[str, float] = {}
    for chunk in (0, *args.chunks):
        words = ["--preset", args.preset, "--batch", str(args.batch), "--only", str(chunk)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
        numbers = json.loads(done.stdout)
        whole = whole or numbers
        ratios = f"memory {numbers['the step'] / whole['the step']:.3f}, time {numbers['cpu_s'] / whole['cpu_s']:.2f}"
        print(
            f"{chunk or 'whole':>8}{numbers['before']:9.0f}{numbers['the step']:10.0f}"
            f"{numbers['cpu_s']:8.1f}{numbers['norm']:12.6f}   {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
