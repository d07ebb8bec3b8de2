// Decisions of clean: the views of the gallery, and what the slider would change.
const synthetic = (row) => sourceOf(row).startsWith("synthetic");
const replacedPairs = new Uint8Array(pairCount);
for (let row = 0; row < rowCount; row++) if (decisionOf(row) === "replace") replacedPairs[texts.pair[row]] = 1;

// Where the slider stands; a row "would change" where the two thresholds disagree about it.
let movedThreshold = settings.threshold;
const judged = (row) => texts.score[row] !== null && !synthetic(row);
const between = (row) => judged(row) && settings.threshold !== null &&
  (texts.score[row] < settings.threshold) !== (texts.score[row] < movedThreshold);

const verdicts = new Map(); // row -> "agree" | "overrule"
const VIEWS = {
  drop: ["Dropped", (row) => decisionOf(row) === "drop"],
  replace: ["Replaced", (row) => replacedPairs[texts.pair[row]] && ["replace", "add"].includes(decisionOf(row))],
  add: ["Added", (row) => decisionOf(row) === "add" && !replacedPairs[texts.pair[row]]],
  doubt: ["Doubtful", (row) => settings.p_threshold !== null && settings.p_threshold !== undefined && !synthetic(row) &&
    texts.p[row] !== null && Math.abs(texts.p[row] - settings.p_threshold) <= settings.doubt],
  keep: ["Kept", (row) => decisionOf(row) === "keep"],
  reject: ["Not taken", (row) => decisionOf(row) === "reject"],
  change: ["Would change", between],
  mine: ["Decided by you", (row) => verdicts.has(row)],
  all: ["All", () => true],
};

const named = { keep: "kept", drop: "dropped", replace: "replaced", add: "new", reject: "not taken" };

const steady = {}; // how many pairs a view has, for the views that no reader changes
function countView(view) {
  if (view === "mine") return new Set(Array.from(verdicts.keys(), (row) => texts.pair[row])).size;
  if (view === "change") return movedThreshold === settings.threshold ? 0 : countPairs(between);
  return steady[view] ??= countPairs(VIEWS[view][1]);
}

function drawButtons(rows) {
  return [["agree", "Agree"], ["overrule", "Overrule"]].map(([verdict, word]) => {
    const pressed = rows.length > 0 && rows.every((row) => verdicts.get(row) === verdict);
    return make("button", verdict, word, { type: "button", tabindex: "-1", "data-verdict": verdict, "aria-pressed": pressed });
  });
}

const arrange = (chosen) => chosen; // cards are pairs
const cardOf = (pair, at) => drawCard(pair, at);
const isDecided = (row) => verdicts.has(row);
const unitOf = () => "pairs";
const drawBeside = () => [];
const noteOf = (view) => view === "doubt" ? `P(match) within ${settings.doubt} of the threshold` : "";
const factsOf = (row) => [sourceOf(row), texts.score[row] !== null && `score ${texts.score[row].toPrecision(4).replace("-", "\u2212")}`, `text ${texts.id[row]}`];
const STRUCK = { drop: "del", replace: "del", add: "ins" };

// The place of a row in the chosen order: the least comes first, null last.
function placeOf(row) {
  const value = (gallery.order.endsWith("score") ? texts.score : texts.p)[row];
  if (value === null) return null;
  if (gallery.order === "near") return Math.abs(value - (settings.p_threshold ?? 0.5));
  return gallery.order.startsWith("-") ? -value : value;
}
