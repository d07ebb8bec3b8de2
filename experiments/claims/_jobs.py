"""Jobs: the conditions of a paper's claims, each run once for a seed. Its result file is the commit mark: finished jobs are not
repeated, and a stop loses at most the running ones.

Does not know: the claims of a paper, models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.claims import _setting
from experiments.claims._verdict import Claim, Results, findings
from pairloom import scale
from pairloom.data.disk import atomic_write

ALL = -1
Make = Callable[["Job"], Mapping[str, Any]]
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """A job: a condition, or a model that the conditions start from. seed ALL: once for all seeds. out: the folder of a run;
    setting: its numbers."""

    out: Path
    seed: int
    name: str
    setting: Any

    @property
    def folder(self) -> Path:
        return self.out if self.seed == ALL else self.out / f"seed-{self.seed}"

    @property
    def result(self) -> Path:
        return self.folder / f"{self.name.replace(' ', '-').replace(',', '')}.json"

    def load_result(self) -> Any:
        """Read the result file of a finished job."""
        return json.loads(self.result.read_text("utf-8"))


def runner(
    claims: Sequence[Claim],
    stages: Callable[[set[str]], Sequence[Sequence[str]]],
    make: Make,
    results: Callable[[dict[tuple[str, int], Any], Any], Results],
    once: Collection[str] = (),
) -> Callable[..., list[dict[str, Any]]]:
    """The function that `python -m experiments.claims` runs for a paper. stages: (conditions of the claims) -> names of the
    jobs, stage after stage. make: importable; runs a job and returns the JSON of its result file. results: (results of the
    jobs, setting) -> values that the claims compare. once: names of the jobs that are run once for all seeds."""

    def run(
        out: Path, setting: Any, seeds: Sequence[int], only: Sequence[str], workers: int, tell: Tell
    ) -> list[dict[str, Any]]:
        """Run the unfinished jobs of the claims in `only`. Returns the rows of `_verdict.findings`. tell(names, newly finished
        jobs, all jobs).

        Mistake where `out` has results of another setting.
        """
        _setting.write_setting(out, setting)
        chosen = [claim for claim in claims if claim.name in only]
        outcomes: dict[tuple[str, int], Any] = {}
        for names in stages({name for claim in chosen for name in claim.conditions}):
            jobs = [
                Job(out, seed, name, setting) for name in names for seed in ([ALL] if name in once else seeds)
            ]
            _do_all(make, jobs, workers, tell)
            outcomes |= {(job.name, job.seed): job.load_result() for job in jobs if job.seed != ALL}
        return findings(chosen, results(outcomes, setting), seeds)

    return run


def _do_all(make: Make, jobs: Sequence[Job], workers: int, tell: Tell) -> None:
    """Run the unfinished jobs."""
    if not jobs:
        return
    names = ", ".join(dict.fromkeys(job.name for job in jobs))
    todo = [job for job in jobs if not job.result.exists()]
    tell(names, len(jobs) - len(todo), len(jobs))
    for _ in scale.run(partial(_do, make), todo, workers):
        tell(names, 1, len(jobs))


def _do(make: Make, job: Job) -> None:
    outcome = make(job)
    with atomic_write(job.result) as file:
        file.write(json.dumps(outcome).encode())
