// Start: fill the filters, choose the first view, join the fields to the gallery.
const themes = ["auto", "light", "dark"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  element("theme").textContent = `Theme: ${name}`;
  element("theme").setAttribute("aria-label", `Colours: ${name === "auto" ? "as the system" : name}. Change.`);
}
element("theme").onclick = () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
  theme(next);
  try { localStorage.setItem("pairloom:theme", next); } catch { /* only for this visit, then */ }
};
try { theme(themes.find((name) => name === localStorage.getItem("pairloom:theme")) ?? "auto"); } catch { theme("auto"); }

let waiting;
function search() {
  clearTimeout(waiting);
  if (element("query").value !== gallery.query) show({ query: element("query").value });
}
element("query").oninput = () => { clearTimeout(waiting); waiting = setTimeout(search, 120); };
element("order").onchange = () => show({ order: element("order").value });
element("finding").onchange = () => show({ finding: element("finding").value });
element("previous").onclick = () => turnPage(-1);
element("next").onclick = () => turnPage(1);
element("page").onchange = () => { gallery.page = (Number(element("page").value) || 1) - 1; turnPage(0); };
element("help-open").onclick = () => help.showModal();
document.querySelector(".views").onclick = (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  show({ view: button.dataset.view });
  document.querySelector(`.views [data-view="${gallery.view}"]`).focus();
};

const codes = new Map();
for (let row = 0; row < rowCount; row++) for (const code of findingsOf(row)) codes.set(code, (codes.get(code) ?? 0) + 1);
for (const [code, count] of [...codes].sort((one, two) => two[1] - one[1])) {
  element("finding").append(make("option", "", `${code.replaceAll("_", " ")} (${whole(count)})`, { value: code }));
}
element("finding").parentElement.hidden = codes.size === 0;
for (const button of document.querySelectorAll("button.finding")) {
  if (!codes.has(button.dataset.finding)) { button.replaceWith(button.textContent); continue; }
  button.onclick = () => {
    show({ view: "all", finding: button.dataset.finding });
    element("finding").value = button.dataset.finding;
    element("gallery").scrollIntoView({ block: "start" });
    element("gallery").focus({ preventScroll: true });
  };
}

if (!texts.p.some((p) => p !== null)) gallery.order = texts.score.some((score) => score !== null) ? "score" : "set";
element("order").value = gallery.order;
show({ view: Object.keys(VIEWS).find((view) => view !== "change" && view !== "mine" && countView(view) > 0) ?? "all" });
document.documentElement.dataset.ready = "yes";
