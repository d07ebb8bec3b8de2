// Findings of check: the views of the gallery by severity, and the groups of copies, a card each.
const named = { bad: "bad", doubt: "doubt", note: "note", fine: "fine" };
const RANK = Object.keys(named);
const STRUCK = {};
const grouped = (pair) => pairs.group[pair] !== null;

// Pairs of every group, the picture to keep first.
const members = new Map();
for (let pair = 0; pair < pairCount; pair++) {
  if (!grouped(pair)) continue;
  if (!members.has(pairs.group[pair])) members.set(pairs.group[pair], []);
  members.get(pairs.group[pair])[pairs.keep[pair] ? "unshift" : "push"](pair);
}

const VIEWS = {
  bad: ["Bad", (row) => decisionOf(row) === "bad"],
  doubt: ["Doubtful", (row) => decisionOf(row) === "doubt"],
  note: ["Notes only", (row) => decisionOf(row) === "note"],
  copies: ["Groups of copies", (row) => grouped(texts.pair[row])],
  all: ["All with a finding or a copy", () => true],
};
const NOTES = {
  bad: "clean takes these out by rule", doubt: "clean leaves these to its judge", note: "nothing is wrong with these",
  copies: "pictures that show the same, side by side",
};
const unitOf = (view) => view === "copies" ? "groups" : "pairs";
const noteOf = (view) => NOTES[view] ?? "";
const steady = {};
const countView = (view) => steady[view] ??= view === "copies" ? members.size : countPairs(VIEWS[view][1]);
const placeOf = (row) => RANK.indexOf(decisionOf(row)) - findingsOf(row).length / 100;
const isDecided = () => false;
const drawButtons = () => [];
const sizeOf = (pair) => pairs.width[pair] ? `${pairs.width[pair]} \u00d7 ${pairs.height[pair]}` : "";
const factsOf = (row) => [`text ${texts.id[row]}`, sizeOf(texts.pair[row])];

// In the view of copies a card is a group, which stands at the pair that it keeps.
function arrange(chosen) {
  if (gallery.view !== "copies") return chosen;
  return [...new Set(chosen.map((pair) => pairs.group[pair]))].map((group) => members.get(group)[0]);
}

const MOST = 24; // copies of a group on its card
function drawGroup(pair, at) {
  const all = members.get(pairs.group[pair]);
  const card = make("li", all.length > 2 ? "card copies" : "card copies two", null, { tabindex: at === gallery.at ? "0" : "-1", "data-pair": pair });
  const strip = make("div", "strip");
  for (const member of all.slice(0, MOST)) strip.append(drawCopy(member));
  if (all.length > MOST) strip.append(make("p", "reason", `and ${whole(all.length - MOST)} more: group ${pairs.group[pair]} in pairs.parquet`));
  const head = make("div", "foot");
  head.append(make("span", "name", `Group ${pairs.group[pair]}: ${whole(all.length)} copies`));
  card.append(head, strip);
  card.setAttribute("aria-label", `Group of ${all.length} copies; keep ${visible(pairs.name[all[0]])}`);
  return card;
}

function drawCopy(pair) {
  const box = make("figure", pairs.keep[pair] ? "copy kept" : "copy");
  const words = make("figcaption");
  const how = make("p", "measure");
  how.append(make("span", "chip", pairs.keep[pair] ? "keep" : visible(pairs.copy[pair]) || "copy"), make("span", "", sizeOf(pair)));
  words.append(how, make("p", "name", visible(pairs.name[pair]), { title: visible(pairs.name[pair]) }));
  for (const row of Array.from(rowsOf(pair)).slice(0, 2)) words.append(drawText(row, 200));
  box.append(drawPicture(pair, false), words);
  return box;
}

// In the large view: the copies of the pair's picture.
function drawBeside(pair) {
  if (!grouped(pair)) return [];
  const strip = make("div", "strip");
  for (const member of members.get(pairs.group[pair]).slice(0, MOST)) if (member !== pair) strip.append(drawCopy(member));
  return [make("p", "facts", `Copies in group ${pairs.group[pair]}${pairs.keep[pair] ? "; this is the one to keep" : ""}`), strip];
}

const cardOf = (pair, at) => gallery.view === "copies" ? drawGroup(pair, at) : drawCard(pair, at);
