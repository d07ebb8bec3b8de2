// The large view: one pair with all its texts, every number and every reason.
const large = element("large");
const SHORT = 2000; // characters of a text before "show all"

function drawLargeEntry(row) {
  const node = drawEntry(row, SHORT);
  if (texts.text[row].length > SHORT) {
    const button = make("button", "", `Show all ${whole(texts.text[row].length)} characters`, { type: "button" });
    button.onclick = () => { node.querySelector(".said").replaceWith(drawText(row, Infinity)); button.remove(); };
    node.querySelector(".said").after(button);
  }
  node.append(make("p", "facts", factsOf(row).filter(Boolean).join(" \u00b7 ")));
  const acts = make("div", "acts");
  acts.append(...drawButtons([row]));
  for (const button of acts.children) {
    button.tabIndex = 0;
    button.onclick = () => { decide([row], button.dataset.verdict); drawLarge(button.dataset.verdict, row); };
    button.dataset.row = row;
  }
  node.append(acts);
  return node;
}

function drawLarge(verdict, row) {
  const pair = herePair();
  if (pair === undefined) return;
  const side = make("div", "side");
  const walk = make("div", "acts walk");
  const back = make("button", "", "Previous", { type: "button" });
  const on = make("button", "", "Next", { type: "button" });
  const close = make("button", "plain", "Close", { type: "button" });
  back.onclick = () => walkLarge(-1);
  on.onclick = () => walkLarge(1);
  close.onclick = () => large.close();
  walk.append(back, on, close);
  const first = shownRows(pair);
  const rows = [...first, ...Array.from(rowsOf(pair)).filter((other) => !first.includes(other))];
  const facts = make("p", "facts", [visible(pairs.name[pair]), shardOf(pair), pairs.key[pair]].filter(Boolean).join(" \u00b7 "));
  side.append(walk, ...rows.map(drawLargeEntry), facts, ...drawBeside(pair));
  const box = large.querySelector(".large");
  const picture = drawPicture(pair, true);
  box.replaceChildren(picture, side);
  const again = row === undefined ? on : box.querySelector(`[data-row="${row}"][data-verdict="${verdict}"]`);
  again?.focus();
}

function walkLarge(by) {
  if (step(by)) drawLarge();
}

function openLarge(at) {
  focusCard(at);
  if (herePair() === undefined) return;
  if (!large.open) large.showModal();
  drawLarge();
}

large.addEventListener("close", () => focusCard(gallery.at));
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
