"""Training loop. A run can be resumed from any checkpoint with bit-identical results, in one process or several.

A step consists of the turns of the system in their order, each with an optimiser of its own; most systems have one turn.
A turn's randomness (dropout, sampled negatives) comes from torch's default generator, which the loop seeds from
(seed, step, rank) before every turn: there is no generator state to save, and the caller's state is restored.

Does not know: the content of a batch, the system, the display of numbers.
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
from pairloom.train.distributed import Losses, ProcessGroup, process_group, shared, together
from pairloom.train.log import Log
from pairloom.train.optimiser import (
    TurnOptimiser,
    averages,
    learning,
    moments_of,
    only,
    put_moments,
    swapped,
    turns,
)
from pairloom.train.settings import Settings
from pairloom.verbs import Progress, Remembers

FREE = ("save_every", "evaluate_every", "keep_last", "threads", "report")  # may change when a run is resumed
Evaluate = Callable[[nn.Module], Mapping[str, float]]
Tell = Callable[[int, int, Mapping[str, float]], None]


@runtime_checkable
class Batches(Protocol):
    """Source of batches for the loop, such as `pairloom.data.loader.Loader`."""

    def steps(self, plan: Plan) -> int: ...

    def read(self, plan: Plan, epoch: int, step: int = 0) -> Iterator[list[Batch]]: ...

    def identity(self) -> str: ...


@dataclass(frozen=True)
class Fitted:
    """Result of a run. lines: its log, as in log.jsonl. resumed: the step that it was resumed from."""

    steps: int
    resumed: int
    lines: list[dict[str, Any]]


def fit(
    system: nn.Module,
    batches: Batches,
    settings: Settings,
    out: Path | None = None,
    *,
    part: str = "",
    evaluate: Evaluate | None = None,
    tell: Tell | None = None,
    device: torch.device | str = "cpu",
) -> Fitted:
    """Train a system, in place. Afterwards it is in evaluation mode, and has the average of its weights where ema > 0.

    out: a folder for `checkpoints/` and the log; a run in it is resumed. None: nothing is written.
    part: the part to train, of a system that is trained in parts; the other parts do not change.
    evaluate(system) -> {name: number}, called every `evaluate_every` steps and at the end, in every process.
    tell(done, total, numbers): called after each logged step.
    Mistake where a loss is not finite, where `out` has a run with other settings or data, and where the settings do not fit
    the system.
    """
    demand_chunks(system, settings.chunk)
    with process_group() as group, _surroundings(settings), learning(system, part):
        return _Run(system.to(device), batches, settings, group, out, part).go(evaluate, tell)


@contextlib.contextmanager
def _surroundings(settings: Settings) -> Iterator[None]:
    """Context with torch's threads and generator as the settings say; both are restored at its end."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        try:
            torch.set_num_threads(settings.threads or threads)
            yield
        finally:
            torch.set_num_threads(threads)


class _Run:
    """State of a run: its optimisers, its sums since the last logged line, its position in the data."""

    def __init__(
        self,
        system: nn.Module,
        batches: Batches,
        settings: Settings,
        group: ProcessGroup,
        out: Path | None,
        part: str,
    ) -> None:
        self.system, self.batches, self.settings, self.group, self.out = system, batches, settings, group, out
        self.part = part
        self.plan = Plan(settings.batch, settings.seed, settings.accumulate, group.rank, group.world)
        self.per_epoch = batches.steps(self.plan)
        self.total = settings.total(self.per_epoch)
        self.turns = turns(system, settings, part)
        self.averages = averages(self.turns)
        self.device = next(iter(self.turns[0].parameters.values())).device
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}
        self.lines: list[dict[str, Any]] = []
        self.log: Log | None = None
        if settings.checkpointing:
            for module in system.modules():
                if hasattr(module, "recompute"):
                    module.recompute = len(module.layers)

    def go(self, evaluate: Evaluate | None, tell: Tell | None) -> Fitted:
        begun = self._resume()
        if self.out is not None and self.group.writes:
            self.log = Log(self.out, begun, self.settings.report)
            self.lines = self.log.lines
        try:
            if begun < self.total:
                self._train(begun, evaluate, tell)
        finally:
            if self.log is not None:
                self.log.close()
        for average in self.averages:
            average.swap()
        self.system.eval()
        return Fitted(self.total, begun, self.lines)

    def _train(self, begun: int, evaluate: Evaluate | None, tell: Tell | None) -> None:
        losses = shared(self.system, self.group, self.settings.chunk)
        self._train_mode()
        for step, batches in self._stream(begun):
            self._step(step, [batch.to(self.device) for batch in batches], losses)
            done = step + 1
            saves, evaluates = (
                self._due(done, self.settings.save_every),
                self._due(done, self.settings.evaluate_every),
            )
            if saves or evaluates or done % self.settings.log_every == 0:
                self._note(done, tell)
            if evaluates and evaluate is not None:
                self._evaluate(done, evaluate)
            if saves and self.out is not None:
                self._save(done)

    def _train_mode(self) -> None:
        """Set training mode; of a system in parts only for the part that is trained."""
        self.system.train()
        for name, child in self.system.named_children() if self.part else ():
            moved = any(key.startswith(f"{name}.") for turn in self.turns for key in turn.parameters)
            child.train(moved)

    def _due(self, done: int, every: int) -> bool:
        return done == self.total or (every > 0 and done % every == 0)

    def _stream(self, begun: int) -> Iterator[tuple[int, list[Batch]]]:
        step = begun
        while step < self.total:
            epoch, at = divmod(step, self.per_epoch)
            for batches in itertools.islice(self.batches.read(self.plan, epoch, at), self.total - step):
                yield step, batches
                step += 1

    def _step(self, step: int, batches: list[Batch], losses: Losses) -> None:
        if isinstance(self.system, Remembers):
            self.system.begin(Progress(step, step / self.per_epoch, self.total))
        for turn in self.turns:
            torch.manual_seed(seed_of("step", self.settings.seed, step, self.group.rank))
            with only(turn, self.turns):
                self._turn(turn, step, batches, losses)
        for average in self.averages:
            average.update()

    def _turn(self, turn: TurnOptimiser, step: int, batches: list[Batch], losses: Losses) -> None:
        for group in turn.optimiser.param_groups:
            group["lr"] = turn.settings.rate(step, self.per_epoch)
        for index, batch in enumerate(batches):
            with together(losses, last=index == len(batches) - 1):
                self._backward(turn, batch, len(batches), losses)
        if turn.settings.clip:
            norm = nn.utils.clip_grad_norm_(list(turn.parameters.values()), turn.settings.clip)
            self._add(f"{turn.prefix}norm", norm)
        turn.optimiser.step()
        turn.optimiser.zero_grad(set_to_none=True)

    def _backward(self, turn: TurnOptimiser, batch: Batch, batches: int, losses: Losses) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            values = losses(batch, turn.name)
        if batch.part_weight is not None:  # a set of a mixture
            values = {name: value * batch.part_weight for name, value in values.items()}
        if not values:
            raise Mistake("There is nothing to learn.", "Every loss has weight 0.", "Give one a weight.")
        loss = torch.stack([value.float() for value in values.values()]).sum()
        (loss / batches).backward()
        self._add(f"{turn.prefix}loss", loss, 1 / batches)
        for name, value in values.items():
            self._add(f"{turn.prefix}losses/{name}", value, 1 / batches)

    def _add(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        """Add to a sum on the device, which is read only when a line is written, so that the loop does not wait for it."""
        value = value.detach().float() * weight
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0.0) + weight

    def _note(self, done: int, tell: Tell | None) -> None:
        counts = torch.tensor(list(self.counts.values()), device=self.device)
        means = self.group.mean(torch.stack(list(self.sums.values())) / counts).tolist()
        numbers = dict(zip(self.sums, means))
        self.sums, self.counts = {}, {}
        rates = {f"{turn.prefix}lr": turn.settings.rate(done - 1, self.per_epoch) for turn in self.turns}
        if not all(map(math.isfinite, means)):
            names = ", ".join(name for name, value in numbers.items() if not math.isfinite(value))
            raise Mistake(
                f"Training broke down at step {done}: {names} is not a finite number.",
                f"The learning rate was {max(rates.values()):.2g}.",
                "Start again with a smaller lr, a longer warmup, clip=1, or precision=fp32.",
            )
        self._write({"step": done, **rates, **numbers})
        if tell is not None and self.group.writes:
            tell(done, self.total, numbers)

    def _write(self, line: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(line)
        else:
            self.lines.append(line)

    def _evaluate(self, done: int, evaluate: Evaluate) -> None:
        self.system.eval()
        with torch.no_grad(), swapped(self.averages):
            numbers = evaluate(self.system)
        self._train_mode()
        values = self.group.mean(torch.tensor(list(numbers.values()), dtype=torch.float64)).tolist()
        self._write({"step": done, **{f"held out/{name}": value for name, value in zip(numbers, values)}})

    def _save(self, done: int) -> None:
        if self.log is not None:
            assert self.out is not None
            self.log.sync()
            groups = {
                "model": tensors_of(self.system),
                **{turn.group: moments_of(turn) for turn in self.turns},
                "ema": {name: value for average in self.averages for name, value in average.tensors.items()},
            }
            checkpoint.save_checkpoint(
                self.out / "checkpoints", done, groups, self._state(), self.settings.keep_last
            )
        self.group.wait()

    def _state(self) -> dict[str, Any]:
        """The settings and data that a resumed run must have unchanged, in JSON types."""
        kept = {name: value for name, value in dataclasses.asdict(self.settings).items() if name not in FREE}
        state: dict[str, Any] = json.loads(
            json.dumps({**kept, "data": self.batches.identity(), "part": self.part})
        )
        return state

    def _resume(self) -> int:
        whole = checkpoint.checkpoints(self.out / "checkpoints") if self.out is not None else []
        if not whole:
            return 0
        groups, state = checkpoint.load_checkpoint(whole[-1])
        step = int(state.pop("step"))
        # settings that did not exist when an older run was saved had their defaults
        before = {**json.loads(json.dumps(dataclasses.asdict(Settings()))), "part": "", **state}
        changed = [name for name, value in self._state().items() if before.get(name) != value]
        if changed:
            raise Mistake(
                f"{self.out} holds a run with other settings or data: {', '.join(changed)}.",
                "A run is resumed only with the settings and data that it began with.",
                "Give the same settings and data, another folder, or --restart to begin again.",
            )
        put_tensors(self.system, groups["model"])
        for turn in self.turns:
            put_moments(turn, groups[turn.group])
        for average in self.averages:
            average.put(groups["ema"])
        return step
