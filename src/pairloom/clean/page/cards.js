// The gallery: which pairs are shown, in which order, on which page, and one card for each. Nothing of a caption or a
// name ever becomes markup: only textContent and properties are set.
const PER_PAGE = 60;
const gallery = { view: "all", finding: "", query: "", order: "p", page: 0, at: 0, chosen: [] };
const cards = element("cards");

function make(tag, style, text, rest) {
  const node = document.createElement(tag);
  if (style) node.className = style;
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(rest ?? {})) node.setAttribute(name, value);
  return node;
}

const belongs = (row) => VIEWS[gallery.view][1](row) && (!gallery.finding || findingsOf(row).includes(gallery.finding));
const shownRows = (pair) => Array.from(rowsOf(pair)).filter(belongs);

function choose() {
  const words = gallery.query.trim().toLowerCase();
  const place = new Float64Array(pairCount).fill(NaN);
  const inside = new Uint8Array(pairCount);
  for (let row = 0; row < rowCount; row++) {
    if (!belongs(row)) continue;
    const pair = texts.pair[row];
    inside[pair] = 1;
    const value = gallery.order === "set" ? null : placeOf(row);
    if (value !== null && !(place[pair] <= value)) place[pair] = value;
  }
  const found = (pair) => pairs.name[pair].toLowerCase().includes(words) || pairs.key[pair].startsWith(words) ||
    rowsOf(pair).some((row) => says(row, words));
  const chosen = [];
  for (let pair = 0; pair < pairCount; pair++) if (inside[pair] && (!words || found(pair))) chosen.push(pair);
  const rank = (pair) => Number.isNaN(place[pair]) ? Infinity : place[pair];
  if (gallery.order !== "set") chosen.sort((one, two) => (rank(one) > rank(two)) - (rank(one) < rank(two)) || one - two);
  return arrange(chosen);
}

// Control characters have no shape: show the picture Unicode has for each, so that a NUL is seen and not swallowed.
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));

// The words that the reason of a decision names as wrong, and the text in parts: [part, whether it is such a word].
const wrongWords = (row) => findingsOf(row).includes("wrong_word") ?
  Array.from(reasonOf(row).matchAll(/\u201c([^\u201d]+)\u201d/g), (match) => match[1].toLowerCase()) : [];

function markedParts(text, wrong) {
  if (!wrong.length) return [[text, false]];
  return text.split(/([\p{L}\p{M}\p{N}]+)/u).map((part) => [part, wrong.includes(part.toLowerCase())]);
}

function drawText(row, most) {
  const text = visible(texts.text[row]);
  const node = make("p", "said");
  if (!text) { node.classList.add("none"); node.textContent = "no text"; return node; }
  const mark = make(STRUCK[decisionOf(row)] ?? "span");
  const words = make("bdi", "", null, { dir: "auto" });
  for (const [part, wrong] of markedParts(text.length > most ? text.slice(0, most) + "\u2026" : text, wrongWords(row)))
    words.append(wrong ? make("mark", "", part) : part);
  mark.append(words);
  node.append(mark);
  return node;
}

function drawChance(row) {
  const node = make("div", "measure");
  node.append(make("span", `chip ${decisionOf(row)}`, named[decisionOf(row)] ?? decisionOf(row)));
  const p = texts.p[row];
  if (p !== null) {
    const bar = make("span", "chance", null, { "aria-hidden": "true" });
    const fill = make("i");
    fill.style.width = `${100 * p}%`;
    bar.append(fill);
    if (settings.p_threshold !== null && settings.p_threshold !== undefined) {
      const tick = make("b");
      tick.style.left = `${100 * settings.p_threshold}%`;
      bar.append(tick);
    }
    node.append(bar, make("span", "", `P ${p.toFixed(2)}`));
  } else if (texts.score[row] !== null) node.append(make("span", "", `score ${texts.score[row].toPrecision(3)}`));
  for (const code of findingsOf(row)) node.append(make("span", "chip found", code.replaceAll("_", " ")));
  return node;
}

function drawEntry(row, most, style = "") {
  const node = make("div", `entry ${decisionOf(row)} ${style}`);
  node.append(drawText(row, most), drawChance(row));
  if (reasonOf(row)) node.append(make("p", "reason", visible(reasonOf(row))));
  return node;
}

function drawPicture(pair, preferLink) {
  const small = pairs.picture[pair];
  const sources = preferLink ? [pairs.link[pair], small] : [small, pairs.link[pair]];
  return drawImage(sources, pairs.name[pair], shardOf(pair));
}

// The first of the sources that can be shown.
function drawImage(places, name, shard) {
  const box = make("div", "picture");
  const sources = places.filter(Boolean);
  const absent = () => {
    const where = shard ? `${name} in ${shard}` : name;
    box.replaceChildren(make("p", "", `No picture in this report: ${visible(where)}`));
  };
  if (!sources.length) { absent(); return box; }
  const image = make("img", "", null, { alt: `Picture of ${visible(name)}`, decoding: "async", loading: "lazy" });
  image.onerror = () => { sources.shift(); if (sources.length) image.src = sources[0]; else absent(); };
  image.src = sources[0];
  box.append(image);
  return box;
}

function drawCard(pair, at) {
  const card = make("li", "card", null, { tabindex: at === gallery.at ? "0" : "-1", "data-pair": pair });
  const rows = shownRows(pair);
  // What the view is about comes first, then the other half of a replacement, then what else the picture has.
  const others = Array.from(rowsOf(pair)).filter((row) => !rows.includes(row));
  const words = make("div", "words");
  const all = [...rows, ...others];
  for (const row of all.slice(0, 3)) words.append(drawEntry(row, 300, rows.includes(row) ? "" : "aside"));
  if (all.length > 3) words.append(make("p", "reason", `and ${all.length - 3} more texts`));
  const foot = make("div", "foot");
  foot.append(make("span", "name", visible(pairs.name[pair]), { title: visible(pairs.name[pair]) }), ...drawButtons(rows));
  card.append(drawPicture(pair, false), words, foot);
  card.classList.toggle("decided", rows.some(isDecided));
  card.setAttribute("aria-label", `${pairs.name[pair]}: ${rows.map((row) => named[decisionOf(row)]).join(", ")}`);
  return card;
}

function drawViews() {
  const box = document.querySelector(".views");
  box.replaceChildren();
  for (const [view, [title]] of Object.entries(VIEWS)) {
    const count = countView(view);
    if (!count && view !== gallery.view && view !== "all") continue;
    const button = make("button", "", title, { type: "button", "data-view": view, "aria-pressed": view === gallery.view });
    button.title = noteOf(view);
    button.append(make("span", "", whole(count)));
    box.append(button);
  }
}

function drawPage() {
  const last = Math.max(0, Math.ceil(gallery.chosen.length / PER_PAGE) - 1);
  gallery.page = Math.min(Math.max(0, gallery.page), last);
  const start = gallery.page * PER_PAGE;
  const page = gallery.chosen.slice(start, start + PER_PAGE);
  gallery.at = Math.min(Math.max(0, gallery.at), Math.max(0, page.length - 1));
  cards.replaceChildren(...page.map(cardOf));
  element("shown").textContent = page.length
    ? `${whole(start + 1)} to ${whole(start + page.length)} of ${whole(gallery.chosen.length)} ${unitOf(gallery.view)}`
    : "No pair fits. Take a filter away or search for something else.";
  element("page").value = gallery.page + 1;
  element("page").max = last + 1;
  element("pages").textContent = whole(last + 1);
  element("previous").disabled = gallery.page === 0;
  element("next").disabled = gallery.page === last;
}

function show(changes) {
  Object.assign(gallery, { page: 0, at: 0 }, changes);
  gallery.chosen = choose();
  drawViews();
  drawPage();
}

function turnPage(by, at = 0) {
  const before = gallery.page;
  gallery.page += by;
  gallery.at = at;
  drawPage();
  if (gallery.page !== before) element("shown").scrollIntoView({ block: "start" });
}

function focusCard(at) {
  const card = cards.children[at];
  if (!card) return;
  cards.children[gallery.at]?.setAttribute("tabindex", "-1");
  gallery.at = at;
  card.setAttribute("tabindex", "0");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

// Step over cards, across the border of a page where there is another one. False at the very end.
function step(by) {
  const at = gallery.at + by;
  if (cards.children[at]) { focusCard(at); return true; }
  const page = gallery.page + Math.sign(by);
  if (page < 0 || page * PER_PAGE >= gallery.chosen.length) return false;
  turnPage(Math.sign(by), by > 0 ? 0 : PER_PAGE - 1);
  focusCard(gallery.at);
  return true;
}
const herePair = () => gallery.chosen[gallery.page * PER_PAGE + gallery.at];
