// Triage: what the reader says about decisions, kept in this browser where it allows that, undone step by step, exported.
const INSTEAD = { keep: "drop", drop: "keep", replace: "keep", add: "reject", reject: "add" };
const STORE = `pairloom:${reportName}`;
const history = []; // [{page, at, view, before: [[row, verdict or undefined]]}]

function remember() {
  try { localStorage.setItem(STORE, JSON.stringify([...verdicts])); } catch { /* a file:// page may not be allowed to */ }
}

function recall() {
  try {
    for (const [row, verdict] of JSON.parse(localStorage.getItem(STORE) ?? "[]")) {
      if (row < rowCount && (verdict === "agree" || verdict === "overrule")) verdicts.set(row, verdict);
    }
  } catch { /* nothing kept, or not readable: start with nothing */ }
}

function redrawPair(pair) {
  const old = cards.querySelector(`[data-pair="${pair}"]`);
  if (!old) return;
  const focused = old.contains(document.activeElement);
  const card = drawCard(pair, Array.prototype.indexOf.call(cards.children, old));
  old.replaceWith(card);
  if (focused) card.focus({ preventScroll: true });
}

function decided() {
  remember();
  const overruled = [...verdicts.values()].filter((verdict) => verdict === "overrule").length;
  element("triage-says").textContent = verdicts.size
    ? `${whole(verdicts.size)} decided by you, ${whole(overruled)} overruled` : "Nothing decided by you yet";
  for (const button of [...document.querySelectorAll(".save"), element("triage-clear")]) button.disabled = !verdicts.size;
}

// Give every row the verdict; giving it a second time takes it back.
function decide(rows, verdict) {
  if (!rows.length) return;
  history.push({ view: gallery.view, page: gallery.page, at: gallery.at, before: rows.map((row) => [row, verdicts.get(row)]) });
  const again = rows.every((row) => verdicts.get(row) === verdict);
  for (const row of rows) if (again) verdicts.delete(row); else verdicts.set(row, verdict);
  decided();
  drawViews();
  redrawPair(texts.pair[rows[0]]);
}

function undo() {
  const last = history.pop();
  if (!last) return;
  for (const [row, verdict] of last.before) if (verdict) verdicts.set(row, verdict); else verdicts.delete(row);
  decided();
  drawViews();
  if (last.view === gallery.view && last.page !== gallery.page) turnPage(last.page - gallery.page, last.at);
  redrawPair(texts.pair[last.before[0][0]]);
  if (last.view === gallery.view && !element("large").open) focusCard(last.at);
}

function decisions() {
  return [...verdicts].sort((one, two) => one[0] - two[0]).map(([row, verdict]) => ({
    key: pairs.key[texts.pair[row]], text_id: texts.id[row], name: pairs.name[texts.pair[row]], shard: shardOf(texts.pair[row]),
    decision: decisionOf(row), verdict, wanted: verdict === "agree" ? decisionOf(row) : INSTEAD[decisionOf(row)] ?? decisionOf(row),
  }));
}

function save(format) {
  const rows = decisions();
  const columns = ["key", "text_id", "name", "shard", "decision", "verdict", "wanted"];
  const cell = (value) => /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  const text = format === "csv"
    ? [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((line) => line.map(cell).join(",") + "\r\n").join("")
    : JSON.stringify({ pairloom: settings.version, report: reportName, set: settings.set, decisions: rows }, null, 1) + "\n";
  download(`decisions.${format}`, text, format === "csv" ? "text/csv" : "application/json");
}

function download(name, text, type) {
  const link = make("a", "", null, { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

for (const button of document.querySelectorAll(".save")) button.onclick = () => save(button.dataset.format);
element("triage-clear").onclick = () => {
  if (!verdicts.size) return;
  history.push({ view: gallery.view, page: gallery.page, at: gallery.at, before: [...verdicts] });
  verdicts.clear();
  decided();
  show({ page: gallery.page, at: gallery.at });
};
