"""Memory and time of one contrastive gradient, the batch embedded whole or in chunks (train/chunks.py), one thread.

    python experiments/benchmarks/bench_chunk.py                                   # CLIP ViT-B/32, batch 32, about two CPU minutes and 4 GiB
    python experiments/benchmarks/bench_chunk.py --preset tiny --batch 4096 --chunks 64 512

Every way is a process of its own: its largest resident memory is the system's own count, in which torch's is too. "before"
is that of the weights, their gradients, the batch and torch itself, after a first gradient of two rows; "the step" what forward
and backward pass of the batch need beyond it. Time is that of the processor. The gradients' norm is printed so that one sees
that it is the same. Random pixels and words: neither memory nor time depends on them.
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
    """MiB at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(preset: str, rows: int, chunk: int) -> dict[str, float]:
    """One gradient in this process."""
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
        found = json.loads(done.stdout)
        whole = whole or found
        ratios = (
            f"memory {found['the step'] / whole['the step']:.3f}, time {found['cpu_s'] / whole['cpu_s']:.2f}"
        )
        print(
            f"{chunk or 'whole':>8}{found['before']:9.0f}{found['the step']:10.0f}"
            f"{found['cpu_s']:8.1f}{found['norm']:12.6f}   {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
