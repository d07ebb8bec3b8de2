// Labels: the reader says of a few texts, drawn at random, whether each describes its picture. The answers become a file for
// `pairloom clean --labels`, and stay in this browser where it allows that.
function startLabels() {
  const ask = settings.ask, box = element("label-card");
  if (!ask || !box) return;
  const store = `pairloom:labels:${ask.head.scores}:${ask.head.below}`;
  const known = ["good", "bad", "skipped"];
  const answers = ask.texts.map(() => null);
  try {
    JSON.parse(localStorage.getItem(store) ?? "[]").forEach((answer, at) => {
      if (at < answers.length && known.includes(answer)) answers[at] = answer;
    });
  } catch { /* nothing kept, or not readable: start with nothing */ }
  const next = () => { const at = answers.indexOf(null); return at < 0 ? answers.length : at; };
  let at = next();

  const draw = () => {
    const text = ask.texts[at], done = answers.filter(Boolean).length;
    const counts = known.map((answer) => `${answers.filter((each) => each === answer).length} ${answer}`).join(", ");
    element("label-says").textContent = `${done} of ${answers.length} answered: ${counts}.`;
    element("label-save").disabled = !answers.some((answer) => answer === "good" || answer === "bad");
    element("label-back").disabled = at === 0;
    for (const button of box.querySelectorAll("[data-answer]")) {
      button.disabled = !text;
      button.setAttribute("aria-pressed", Boolean(text) && answers[at] === button.dataset.answer);
    }
    if (!text) {
      element("label-picture").replaceChildren();
      element("label-text").textContent = "All have an answer. Save the file, and run the command.";
      return;
    }
    const small = ask.pictures[at] && `data:image/webp;base64,${ask.pictures[at]}`;
    element("label-picture").replaceChildren(drawImage([ask.links[at], small], text.name, text.shard));
    element("label-text").replaceChildren(make("bdi", "", visible(text.text), { dir: "auto" }));
  };

  const answer = (word) => {
    if (at >= answers.length) return;
    answers[at] = word;
    try { localStorage.setItem(store, JSON.stringify(answers)); } catch { /* a file:// page may not be allowed to */ }
    at = next();
    draw();
  };
  const back = () => { at = Math.max(0, at - 1); draw(); };
  const save = () => {
    const lines = [ask.head];
    ask.texts.forEach((text, place) => { if (answers[place]) lines.push({ ...text, answer: answers[place] }); });
    download(ask.file, lines.map((line) => JSON.stringify(line) + "\n").join(""), "application/jsonl");
  };

  const keys = { y: () => answer("good"), n: () => answer("bad"), s: () => answer("skipped"), b: back };
  box.addEventListener("keydown", (event) => { // before the gallery, where n turns pages
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key] || !element("keys-on").checked) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });
  for (const button of box.querySelectorAll("[data-answer]")) button.onclick = () => answer(button.dataset.answer);
  element("label-back").onclick = back;
  element("label-save").onclick = save;
  box.hidden = false;
  draw();
}
