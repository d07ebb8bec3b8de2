// Keys and clicks of the gallery. Letters are left alone inside fields, with Ctrl, Alt or Meta, and where switched off.
const help = element("help");

function across() { // cards in a row, as the page is laid out now
  const top = cards.children[0]?.offsetTop;
  const next = Array.prototype.findIndex.call(cards.children, (card) => card.offsetTop !== top);
  return next < 0 ? cards.children.length : next;
}

function move(by) {
  if (large.open) walkLarge(by);
  else if (!cards.contains(document.activeElement)) focusCard(gallery.at); // the first key only enters the gallery
  else step(by);
}

const LETTERS = {
  j: () => move(1), k: () => move(-1),
  n: () => { if (!large.open) { turnPage(1); focusCard(0); } }, p: () => { if (!large.open) { turnPage(-1); focusCard(0); } },
  "/": () => { if (!large.open) element("query").focus(); },
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const field = event.target.closest("input, select, textarea");
  if (field) {
    if (event.key === "Escape" && field.id === "query") focusCard(gallery.at);
    if (event.key === "Enter" && field.id === "query") { search(); focusCard(0); }
    return;
  }
  const inside = large.open || cards.contains(event.target);
  const arrows = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: large.open ? 0 : across(), ArrowUp: large.open ? 0 : -across() };
  let done = true;
  if (inside && arrows[event.key]) { if (large.open) walkLarge(arrows[event.key]); else step(arrows[event.key]); }
  else if (event.key === "Enter" && event.target.classList.contains("card")) openLarge(gallery.at);
  else if (LETTERS[event.key] && element("keys-on").checked) LETTERS[event.key]();
  else done = false;
  if (done) event.preventDefault();
});

cards.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (!card) return;
  const at = Array.prototype.indexOf.call(cards.children, card);
  const button = event.target.closest("button[data-verdict]");
  if (button) { focusCard(at); decide(shownRows(Number(card.dataset.pair)), button.dataset.verdict); }
  else if (!String(getSelection())) openLarge(at);
});
