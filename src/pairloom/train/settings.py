"""Settings of a training run, by the names that papers use. A system's RECIPES override their defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

OF_A_TURN = tuple(
    "optimiser lr min_lr warmup schedule decay decay_every weight_decay decay_all betas clip ema".split()
)


@dataclass(frozen=True)
class Settings:
    """Training settings.

    lr: peak; the rate rises from min_lr over `warmup` steps (below 1: share of all steps) and falls back to it.
    batch: examples per optimiser step, over all processes. steps: 0 means `epochs` whole epochs.
    schedule: "exponential" multiplies by `decay` after each epoch (BLIP: 0.9 in its code, 0.85 in its text), or after every
    `decay_every` steps where that is not 0.
    optimiser: adamw, adam (weight decay is then part of the gradient), or sgd with momentum betas[0], or rmsprop, whose
    average of squares decays by betas[1].
    decay_all: weight decay on norms, biases and scalars too, as in BLIP's released code.
    clip: largest gradient norm (0: none). accumulate: number of parts that a batch is computed in.
    chunk: rows of a contrastive batch that are embedded at a time (0: all): see train/chunks.py.
    checkpointing: recompute layers in the backward pass: less memory, a third more time.
    ema: decay of the average of the weights (0: none); evaluation and the saved model then use the average.
    turns: for a system with several turns, name of the turn -> its own settings, names of OF_A_TURN.
    log_every, save_every, evaluate_every: optimiser steps (0: only at the end). keep_last: number of checkpoints to keep.
    reward: trains a writer by this reward instead of by its texts, by name (train/reward.py).
    threads: of torch (0: unchanged). report: "tensorboard" also writes files for TensorBoard beside the log.
    """

    lr: float = 3e-4
    min_lr: float = 1e-6
    batch: int = 256
    epochs: int = 20
    steps: int = 0
    warmup: float | int = 0.05
    schedule: Literal["cosine", "linear", "exponential", "constant"] = "cosine"
    decay: float = 0.9
    decay_every: int = 0
    optimiser: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    weight_decay: float = 0.05
    decay_all: bool = False
    betas: tuple[float, ...] = (0.9, 0.999)
    clip: float = 1.0
    accumulate: int = 1
    chunk: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: bool = False
    ema: float = 0.0
    reward: str = "none"
    seed: int = 0
    log_every: int = 10
    save_every: int = 500
    evaluate_every: int = 0
    keep_last: int = 2
    threads: int = 0
    report: Literal["none", "tensorboard"] = "none"
    turns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "log_every", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in (
            "lr",
            "min_lr",
            "warmup",
            "weight_decay",
            "clip",
            "decay_every",
            "steps",
            "chunk",
            "save_every",
            "evaluate_every",
            "threads",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative")
        if self.steps == 0 and self.epochs < 1:
            raise ValueError("give epochs or steps")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas) or not 0 <= self.ema < 1:
            raise ValueError("betas are two numbers in [0, 1), and so is ema")
        for turn, own in self.turns.items():
            shared = [name for name in own if name not in OF_A_TURN]
            if shared:
                raise ValueError(f"{shared[0]} belongs to the run, not to the turn {turn}")
            self.of(turn)

    def of(self, turn: str) -> Settings:
        """The settings of one turn: the run's, overridden by its own."""
        return replace(self, turns={}, **self.turns.get(turn, {}))

    def total(self, per_epoch: int) -> int:
        """Number of optimiser steps of the whole run."""
        return self.steps or self.epochs * per_epoch

    def rate(self, step: int, per_epoch: int) -> float:
        """Learning rate of the step after `step` finished ones. Warm-up is counted in steps: BLIP's code ends it with the
        first epoch, where the rate jumps if the epoch is shorter than the warm-up."""
        total = self.total(per_epoch)
        warm = int(self.warmup * total) if self.warmup < 1 else int(self.warmup)
        if step < warm:
            return self.min_lr + (self.lr - self.min_lr) * (step + 1) / (warm + 1)
        gone = (step - warm) / max(1, total - warm)
        if self.schedule == "cosine":
            return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * gone)) / 2
        if self.schedule == "linear":
            return self.lr + (self.min_lr - self.lr) * gone
        if self.schedule == "exponential":
            return max(self.min_lr, self.lr * self.decay ** (step // (self.decay_every or per_epoch)))
        return self.lr
