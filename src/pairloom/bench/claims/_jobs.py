"""Jobs: the conditions of a paper's claims, each done once for a seed. Its result file is the commit mark: what is there is
not done again, and a stop loses at most the jobs under way.

Does not know: claims, models, what a job does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pairloom import scale
from pairloom.data.disk import atomic_write

ALL = -1
Make = Callable[["Job"], Mapping[str, Any]]


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


def run(
    make: Make, stages: Sequence[Sequence[Job]], workers: int, tell: Callable[[str, int, int], None]
) -> None:
    """Do what is not done yet, one stage after the other. make: importable; gives the JSON of a job's result file.
    tell(names, how many more are done, of how many)."""
    for jobs in stages:
        names = ", ".join(dict.fromkeys(job.name for job in jobs))
        todo = [job for job in jobs if not job.result.exists()]
        tell(names, len(jobs) - len(todo), len(jobs))
        for _ in scale.run(partial(_do, make), todo, workers):
            tell(names, 1, len(jobs))


def _do(make: Make, job: Job) -> None:
    made = make(job)
    with atomic_write(job.result) as file:
        file.write(json.dumps(made).encode())
