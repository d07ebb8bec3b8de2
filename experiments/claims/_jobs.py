"""Jobs: the conditions of a paper's claims, each done once for a seed. Its result file is the commit mark: what is there is
not done again, and a stop loses at most the jobs under way.

Does not know: any paper's claims, models, what a job does.
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
    """A condition, or what the conditions begin with. seed ALL: once for all seeds. out: the folder of a run; setting: its
    numbers."""

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

    def made(self) -> Any:
        """What the job gave."""
        return json.loads(self.result.read_text("utf-8"))


def runner(
    claims: Sequence[Claim],
    stages: Callable[[set[str]], Sequence[Sequence[str]]],
    make: Make,
    results: Callable[[dict[tuple[str, int], Any], Any], Results],
    once: Collection[str] = (),
) -> Callable[..., list[dict[str, Any]]]:
    """What `python -m experiments.claims` runs of a paper. stages: the conditions that the claims name -> the jobs to do, one stage after the
    other. make: importable; gives the JSON of a job's result file. results: what the jobs gave, and the setting -> what the
    claims compare. once: jobs that are done for all seeds together."""

    def run(
        out: Path, setting: Any, seeds: Sequence[int], only: Sequence[str], workers: int, tell: Tell
    ) -> list[dict[str, Any]]:
        """Run what the claims named in `only` need and is not in `out` yet; rows of `_verdict.findings`. tell(names, how many
        more are done, of how many).

        Raises Mistake where `out` holds results of another setting.
        """
        _setting.keep(out, setting)
        asked = [claim for claim in claims if claim.name in only]
        made: dict[tuple[str, int], Any] = {}
        for names in stages({name for claim in asked for name in claim.conditions}):
            jobs = [
                Job(out, seed, name, setting) for name in names for seed in ([ALL] if name in once else seeds)
            ]
            _do_all(make, jobs, workers, tell)
            made |= {(job.name, job.seed): job.made() for job in jobs if job.seed != ALL}
        return findings(asked, results(made, setting), seeds)

    return run


def _do_all(make: Make, jobs: Sequence[Job], workers: int, tell: Tell) -> None:
    """Do what is not done yet."""
    if not jobs:
        return
    names = ", ".join(dict.fromkeys(job.name for job in jobs))
    todo = [job for job in jobs if not job.result.exists()]
    tell(names, len(jobs) - len(todo), len(jobs))
    for _ in scale.run(partial(_do, make), todo, workers):
        tell(names, 1, len(jobs))


def _do(make: Make, job: Job) -> None:
    made = make(job)
    with atomic_write(job.result) as file:
        file.write(json.dumps(made).encode())
