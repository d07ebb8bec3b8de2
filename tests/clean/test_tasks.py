"""Tasks carry one shard: none grows with the set."""

from __future__ import annotations

import pickle
from pathlib import Path

from pairloom.clean.audit import AuditTask
from pairloom.clean.audit_languages import LanguageTask
from pairloom.clean.capfilt import CaptionTask, ModelCaptioner
from pairloom.clean.ending_scores import EndingTask
from pairloom.clean.judges import JudgeAt
from pairloom.clean.plan import CleanSettings
from pairloom.clean.prove import ProveTask
from pairloom.clean.scoring import ScoreTask
from pairloom.clean.self_judge import TrainTask
from pairloom.clean.shard_decisions import DecideTask
from pairloom.clean.writing import WriteTask
from pairloom.data.shards import Shard

WORK = Path("/a/rather/deep/folder/of/somebody/with/a/long/name") / "out" / ".pairloom"
SHARD = Shard("00099999", "webdataset", WORK / "raw", WORK / "raw" / "00099999.tar", 0, 10**9)
JUDGE = JudgeAt(str(WORK / "round-1" / "folds"))
TASKS = [
    AuditTask(SHARD, WORK / "audit", 64),
    LanguageTask(SHARD, WORK / "audit" / "languages.json", WORK / "audit"),
    ScoreTask(WORK, SHARD, WORK / "round-1", JUDGE),
    EndingTask(WORK, SHARD, WORK / "round-1" / "scores", WORK / "round-1" / "endings"),
    DecideTask(
        WORK, SHARD.name, WORK / "verdict.json", WORK / "decisions", WORK / "scores", WORK / "captions", WORK
    ),
    CaptionTask(
        WORK, SHARD, WORK / "captions", WORK / "decisions", JUDGE, ModelCaptioner(str(WORK), "self"), 0
    ),
    WriteTask(SHARD, WORK / "pairs", WORK / "ledger" / "00099999.parquet", WORK / "decisions" / "part"),
    TrainTask(WORK, WORK / "rows", WORK / "folds" / "0", WORK / "tokenizer.json", 50_000, 0),
    ProveTask("clean", 0, WORK, WORK / "decisions", WORK / "prove" / "test", CleanSettings()),
]


def test_no_task_pickles_to_two_kilobytes() -> None:
    sizes = {type(task).__name__: len(pickle.dumps(task)) for task in TASKS}
    assert max(sizes.values()) < 2000, sizes
