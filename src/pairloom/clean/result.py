"""Result of a cleaning run, from the folder of a finished run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.clean import plan
from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_sample import COUNT
from pairloom.clean.ledger import Ledger
from pairloom.data.cut import CutTexts

if TYPE_CHECKING:
    from pairloom.clean.calibrated_judge import CalibratedJudge
    from pairloom.clean.label_file import SampledText
    from pairloom.clean.label_sample import LabelSample
    from pairloom.clean.recalibrate import Recalibration


@dataclass(frozen=True, repr=False)
class CleanResult:
    """Result of a cleaning run: its folder, and the content of run.json."""

    out: Path
    facts: dict[str, Any]

    @classmethod
    def load(cls, out: str | Path) -> CleanResult:
        """Load the result of a finished run from its --out folder. Mistake where there is none, or an unfinished one."""
        return cls(Path(out), plan.demand_finished(Path(out)))

    @property
    def ledger(self) -> Ledger:
        """One row for every text, with score, P(match), decision and reason."""
        return Ledger(self.out / "pairs.parquet")

    @property
    def report(self) -> Path:
        """The visual report, one HTML file."""
        return self.out / "report.html"

    @property
    def pairs(self) -> Path:
        """The clean set, in the format of the raw one."""
        return self.out / plan.CLEAN

    @property
    def has_pairs(self) -> bool:
        """Whether a text is in the clean set."""
        return self.counts.get("keep", 0) + self.counts.get("add", 0) > 0

    @property
    def counts(self) -> dict[str, int]:
        """The count of each decision."""
        counts: dict[str, int] = self.facts["counts"]
        return counts

    @property
    def calibration(self) -> dict[str, Any]:
        """The judge's AUROC with its interval, the threshold and the shares that it means (docs/clean.md)."""
        calibration: dict[str, Any] = self.facts["calibration"]
        return calibration

    def judge(self, device: str = "cpu") -> CalibratedJudge:
        """The judge that scored the ledger."""
        from pairloom.clean.judges import load_judge

        return load_judge(self.out / "models" / "judge", device)

    def why(self, key: str) -> list[dict[str, Any]]:
        """Every text of a pair with its score, decision and reason. key: the pair's key (its first digits are enough) or its
        name. Mistake where there is no such pair."""
        return self.ledger.of(key)

    def apply(
        self,
        decisions: str | Path,
        out: str | Path,
        tell: Callable[..., None] = lambda *arguments, **more: None,
    ) -> CleanResult:
        """Write the clean set again, to `out`, with the decisions that a reader has made in the report and exported (JSON or CSV).

        Mistake where one of them does not belong to this run.
        """
        from pairloom.clean.applying import apply

        return CleanResult(Path(out), apply(self.out, Path(decisions), Path(out), tell))

    def applied_summary(self) -> list[str]:
        """Summary of what `apply` wrote, in two lines."""
        applied, counts = self.facts["applied"], self.facts["counts"]
        taken_out = counts["drop"] + counts["replace"] - counts["textless"]
        return [
            f"{applied['decisions']:,} decisions, {applied['overruled']:,} of them against the run: now {counts['keep']:,} texts "
            f"kept, {counts['add']:,} new, {taken_out:,} taken out.",
            f"  written to   {self.out}/pairs  {self.out}/pairs.parquet  {self.out}/report.html",
        ]

    def label_sample(self, count: int = COUNT, seed: int = 0) -> LabelSample:
        """A simple random sample of the texts that a label could decide about: `.texts`, in random order. A longer sample begins
        with the shorter one. Mistake where nothing was calibrated."""
        from pairloom.clean.label_sample import LabelSample, origin_of

        kept = KeptScores.read(self.out, self.facts)
        return LabelSample.draw(self.ledger.path, kept, origin_of(self.facts, seed), count)

    def picture(self, text: SampledText) -> bytes:
        """The encoded picture of a text of `label_sample`. Mistake where the set no longer has it."""
        from pairloom.clean.label_sample import picture_of
        from pairloom.data.several import open_again

        raw = self.facts["set"]
        return picture_of(open_again(raw), text).read()

    def label(
        self, file: str | Path | None = None, count: int = COUNT, *, read: Callable[[str], str | None], say: Callable[[str], None]
    ) -> dict[str, Any]:  # fmt: skip
        """Ask a person about the texts of `label_sample`, one after another, and write every answer to a label file at once
        (OUT/labels.jsonl); a file that is there is continued. read(prompt) gives the next answer, None at the end; say(line)
        shows a line. Returns what the labels would change. Mistake where the file is not one of this run."""
        from pairloom.clean.labelling import label

        return label(self, self.out / plan.LABELS if file is None else Path(file), count, read, say)

    def with_labels(self, labels: str | Path) -> Recalibration:
        """What a label file would change; nothing is written. Mistake where it is about another run."""
        from pairloom.clean.recalibrate import with_labels

        return with_labels(self.out, self.facts, Path(labels))

    def recalibrate(
        self,
        labels: str | Path,
        *,
        workers: int = 1,
        tell: Callable[..., None] = lambda *arguments, **more: None,
    ) -> CleanResult:
        """Decide about the run again, given a label file, from the scores that it kept: new pairs, ledger, report and judge in
        the same folder. No model is loaded. Mistake where the file is about another run, or the set has changed."""
        from pairloom.clean.recalibrate import recalibrate
        from pairloom.scale import Execution

        execution = Execution(workers=workers)
        return CleanResult(self.out, recalibrate(self.out, Path(labels), execution, tell))

    def __repr__(self) -> str:
        return "\n".join(self.summary())

    def summary(self) -> list[str]:
        """Summary of the run in a few lines."""
        return _summary(self.facts, self.out)


def _budget(facts: dict[str, Any]) -> str:
    """The budget of false drops, and the part of it that the decision about whole texts has, where that is not all."""
    whole, part = facts["command"]["false_drop"], facts["calibration"]["false_drop_budget"]
    return f"{100 * whole:.3g}%" + (f", {100 * part:.2g}% for whole texts" if part < whole else "")


def _summary(facts: dict[str, Any], where: Path) -> list[str]:
    counts, raw, calibration = facts["counts"], facts["set"], facts.get("calibration") or {}
    gone = counts["drop"] + counts["replace"] - counts["textless"]
    lines: list[str] = []
    say = lines.append
    say(
        f"{raw['pairs']:,} pairs read ({raw['format']}): {gone:,} bad text{'' if gone == 1 else 's'} found, {counts['replace']:,} replaced by new captions."
    )
    for note in raw.get("notes", ()):
        say(f"  note         {note}")
    if counts["textless"]:
        say(f"  textless     {counts['textless']:,} pairs came without a text and have none")
    by_rule = sum(entry["count"] for entry in facts["audit"].values() if entry["severity"] == "bad")
    say(f"  audit        {by_rule:,} pictures or texts bad by rule")
    judge = facts.get("judge") or {}
    if cut := CutTexts(**judge.get("cut", {})):
        say(f"  cut          {cut}")
    if judge.get("parts"):
        weights = ", ".join(f"{part} {share:.0%}" for part, share in judge["parts"].items())
        say(f"  features     {weights}; of texts: {judge['texts']}")
        if all(part.startswith("hand-made") for part in judge["parts"]):
            say('               pip install "pairloom[towers]" would bring pretrained ones (docs/towers.md)')
    if calibration.get("decides"):
        say(
            f"  judge        AUROC {calibration['auroc']:.3f} [{calibration['auroc_low']:.3f}, {calibration['auroc_high']:.3f}] of own texts over "
            f"planted mismatches; about {calibration['bad_share']:.0%} of the texts look mismatched"
        )
        say(
            f"  limit        finds {calibration['found']:.0%} of planted mismatches, drops about {calibration['false_drop']:.1%} "
            f"of the good pairs (budget {_budget(facts)})"
        )
        say(
            f"  certainty    {calibration['confidence']:.0%} that the budget is kept, by {calibration['basis']}; at worst, if every text is "
            f"good, it drops {calibration['worst_case']:.0%}"
        )
    else:
        say(f"  judge        changes nothing. {calibration.get('why', '')}")
    endings = facts.get("endings") or {}
    if endings.get("doubted"):
        say(
            f"  endings      {endings['doubted']:,} texts seem to be cut off (AUROC {endings['auroc']:.3f} over texts cut at a random "
            f"place); such texts are {'dropped below a limit' if endings['decides'] else 'shown, and not dropped'}"
        )
    words = facts.get("words") or {}
    if words.get("doubted"):
        say(
            f"  words        {words['doubted']:,} texts have a word that may not fit (AUROC {words['auroc']:.3f} over texts with one word "
            f"exchanged); such texts are {'dropped below a limit' if words['decides'] else 'shown, and not dropped'}"
        )
    if "label_limit" in calibration and not facts.get("labels"):
        say(
            f"  labels       answers about {COUNT} texts make it surer, or move it: pairloom label {where}, or the report"
        )
    for row in (facts.get("truth") or {}).get("kinds", []):
        exact = "" if row["precision"] is None else f", precision {row['precision']:.0%}"
        say(
            f"  planted      {row['kind']:<15} {row['found']:>5} of {row['planted']:<5} found ({row['recall']:.0%}{exact})"
        )
    for name, value in ((facts.get("truth") or {}).get("numbers") or {}).items():
        say(f"  truth        {name}: {value:.3f}")
    for row in (facts.get("prove") or {}).get("rows", []):
        say(
            f"  proof        {row['metric']}: raw {row['raw']:.3f}, clean {row['clean']:.3f}, difference {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        )
    say(f"  written to   {where}/pairs  {where}/pairs.parquet  {where}/report.html")
    return lines
