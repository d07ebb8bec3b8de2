"""fit: the one training loop. Resumable at any checkpoint to the same bits, in one process or several.

A step's randomness (dropout, sampled negatives) comes from torch's default generator, which the loop seeds from
(seed, step, rank) before every step: there is no generator state to save, and none is left behind.
Does not know: what a batch holds, which system learns, how numbers are shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pairloom.blocks.tensors import put_tensors, tensors_of
from pairloom.data.batch import Batch
from pairloom.data.order import Plan
from pairloom.data.pair import seed_of
from pairloom.errors import Mistake
from pairloom.train import checkpoint
from pairloom.train.chunks import demand_chunks
from pairloom.train.distributed import Losses, ProcessGroup, join, shared, together
from pairloom.train.log import Log
from pairloom.train.optimiser import Average, adamw, learned, moments_of, put_moments
from pairloom.train.settings import Settings
from pairloom.verbs import Remembers

FREE = ("save_every", "evaluate_every", "keep", "threads", "report")  # may change when a run goes on
Evaluate = Callable[[nn.Module], Mapping[str, float]]
Tell = Callable[[int, int, Mapping[str, float]], None]


@runtime_checkable
class Batches(Protocol):
    """What the loop reads. `pairloom.data.loader.Loader` is one."""

    def steps(self, plan: Plan) -> int: ...

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]: ...

    def identity(self) -> str: ...


@dataclass(frozen=True)
class Fitted:
    """What a run was. lines: its log, as in log.jsonl. resumed: the step it went on from."""

    steps: int
    resumed: int
    lines: list[dict[str, Any]]


def fit(
    system: nn.Module,
    batches: Batches,
    settings: Settings,
    out: Path | None = None,
    *,
    evaluate: Evaluate | None = None,
    tell: Tell | None = None,
    device: torch.device | str = "cpu",
) -> Fitted:
    """Train `system` in place and leave it in evaluation mode, carrying the average of its weights where ema > 0.

    out: a folder for `checkpoints/` and the log; a run found there goes on. None: nothing is written.
    evaluate(system) -> name: number, asked every `evaluate_every` steps and at the end, in every process.
    tell(done, total, numbers): after each logged step.
    Raises Mistake where a loss is not finite, `out` holds a run with other settings or other data, or the settings do not
    fit the system.
    """
    demand_chunks(system, settings.chunk)
    ranks = join()
    with _surroundings(settings):
        return _Run(system.to(device), batches, settings, ranks, out).go(evaluate, tell)


@contextlib.contextmanager
def _surroundings(settings: Settings) -> Iterator[None]:
    """Threads and generator as the settings say; as they were, afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        try:
            torch.set_num_threads(settings.threads or threads)
            yield
        finally:
            torch.set_num_threads(threads)


class _Run:
    """One run: its optimiser, its sums since the last logged line, its place in the data."""

    def __init__(
        self, system: nn.Module, batches: Batches, settings: Settings, ranks: ProcessGroup, out: Path | None
    ) -> None:
        self.system, self.batches, self.settings, self.ranks, self.out = system, batches, settings, ranks, out
        self.plan = Plan(settings.batch, settings.seed, settings.accumulate, ranks.rank, ranks.world)
        self.per_epoch = batches.steps(self.plan)
        self.total = settings.total(self.per_epoch)
        self.parameters = list(learned(system).values())
        self.device = self.parameters[0].device
        self.optimiser = adamw(system, settings)
        self.average = Average(system, settings.ema) if settings.ema else None
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}
        self.lines: list[dict[str, Any]] = []
        self.log: Log | None = None
        if settings.checkpointing:
            for part in system.modules():
                if hasattr(part, "recompute"):
                    part.recompute = len(part.layers)

    def go(self, evaluate: Evaluate | None, tell: Tell | None) -> Fitted:
        begun = self._resume()
        if self.out is not None and self.ranks.writes:
            self.log = Log(self.out, begun, self.settings.report)
            self.lines = self.log.lines
        try:
            if begun < self.total:
                self._train(begun, evaluate, tell)
        finally:
            if self.log is not None:
                self.log.close()
        if self.average is not None:
            self.average.swap()
        self.system.eval()
        return Fitted(self.total, begun, self.lines)

    def _train(self, begun: int, evaluate: Evaluate | None, tell: Tell | None) -> None:
        losses = shared(self.system, self.ranks, self.settings.chunk)
        self.system.train()
        for step, parts in self._stream(begun):
            self._step(step, [part.to(self.device) for part in parts], losses)
            done = step + 1
            saves, looks = (
                self._due(done, self.settings.save_every),
                self._due(done, self.settings.evaluate_every),
            )
            if saves or looks or done % self.settings.log_every == 0:
                self._note(done, tell)
            if looks and evaluate is not None:
                self._evaluate(done, evaluate)
            if saves and self.out is not None:
                self._save(done)

    def _due(self, done: int, every: int) -> bool:
        return done == self.total or (every > 0 and done % every == 0)

    def _stream(self, begun: int) -> Iterator[tuple[int, list[Batch]]]:
        step = begun
        while step < self.total:
            epoch, at = divmod(step, self.per_epoch)
            for parts in itertools.islice(self.batches.read(self.plan, epoch, at), self.total - step):
                yield step, parts
                step += 1

    def _step(self, step: int, parts: list[Batch], losses: Losses) -> None:
        torch.manual_seed(seed_of("step", self.settings.seed, step, self.ranks.rank))
        if isinstance(self.system, Remembers):
            self.system.begin(step / self.per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(step, self.per_epoch)
        for index, part in enumerate(parts):
            with together(losses, last=index == len(parts) - 1):
                self._backward(part, len(parts), losses)
        if self.settings.clip:
            self._add("norm", nn.utils.clip_grad_norm_(self.parameters, self.settings.clip))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()

    def _backward(self, part: Batch, parts: int, losses: Losses) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            made = losses(part)
        if "part_weight" in part.extra:  # a set of a mixture
            made = {name: value * part.extra["part_weight"] for name, value in made.items()}
        loss = torch.stack([value.float() for value in made.values()]).sum()
        (loss / parts).backward()
        for name, value in (("loss", loss), *((f"losses/{name}", value) for name, value in made.items())):
            self._add(name, value, 1 / parts)

    def _add(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        """Sums stay on the device: nothing waits for it until a line is written."""
        value = value.detach().float() * weight
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0.0) + weight

    def _note(self, done: int, tell: Tell | None) -> None:
        counts = torch.tensor(list(self.counts.values()), device=self.device)
        means = self.ranks.mean(torch.stack(list(self.sums.values())) / counts).tolist()
        numbers = dict(zip(self.sums, means))
        self.sums, self.counts = {}, {}
        if not all(map(math.isfinite, means)):
            names = ", ".join(name for name, value in numbers.items() if not math.isfinite(value))
            raise Mistake(
                f"Training broke down at step {done}: {names} is not a finite number.",
                f"The learning rate was {self.settings.rate(done - 1, self.per_epoch):.2g}.",
                "Start again with a smaller lr, a longer warmup, clip=1, or precision=fp32.",
            )
        self._write({"step": done, "lr": self.settings.rate(done - 1, self.per_epoch), **numbers})
        if tell is not None and self.ranks.writes:
            tell(done, self.total, numbers)

    def _write(self, line: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(line)
        else:
            self.lines.append(line)

    def _evaluate(self, done: int, evaluate: Evaluate) -> None:
        self.system.eval()
        with torch.no_grad(), self.average.swapped() if self.average else contextlib.nullcontext():
            asked = evaluate(self.system)
        self.system.train()
        values = self.ranks.mean(torch.tensor(list(asked.values()), dtype=torch.float64)).tolist()
        self._write({"step": done, **{f"held out/{name}": value for name, value in zip(asked, values)}})

    def _save(self, done: int) -> None:
        if self.log is not None:
            assert self.out is not None
            self.log.sync()
            groups = {
                "model": tensors_of(self.system),
                "optimiser": moments_of(self.optimiser, self.system),
                "ema": self.average.tensors if self.average else {},
            }
            checkpoint.save_checkpoint(
                self.out / "checkpoints", done, groups, self._state(), self.settings.keep
            )
        self.ranks.wait()

    def _state(self) -> dict[str, Any]:
        """What a run that goes on must find unchanged; as JSON gives it back."""
        kept = {name: value for name, value in dataclasses.asdict(self.settings).items() if name not in FREE}
        state: dict[str, Any] = json.loads(json.dumps({**kept, "data": self.batches.identity()}))
        return state

    def _resume(self) -> int:
        whole = checkpoint.found(self.out / "checkpoints") if self.out is not None else []
        if not whole:
            return 0
        groups, state = checkpoint.load_checkpoint(whole[-1])
        step = int(state.pop("step"))
        changed = [name for name, value in self._state().items() if state.get(name) != value]
        if changed:
            raise Mistake(
                f"{self.out} holds a run with other settings or data: {', '.join(changed)}.",
                "A run goes on only as it began.",
                "Give the same settings and data, another folder, or --restart to begin again.",
            )
        put_tensors(self.system, groups["model"])
        put_moments(self.optimiser, self.system, groups["optimiser"])
        if self.average is not None:
            self.average.put(groups["ema"])
        return step
