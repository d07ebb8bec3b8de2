// Keys that decide about the pair at hand, and the start of what only a report of clean has.
function speak(verdict) {
  const pair = herePair();
  if (pair === undefined) return;
  if (!large.open && !cards.contains(document.activeElement)) { focusCard(gallery.at); return; } // decide nothing unseen
  decide(shownRows(pair), verdict);
  if (large.open) { if (!step(1)) focusCard(gallery.at); drawLarge(); } else if (!step(1)) focusCard(gallery.at);
}

Object.assign(LETTERS, {
  a: () => speak("agree"), x: () => speak("overrule"),
  u: () => { undo(); if (large.open) drawLarge(); },
});

recall();
decided();
startThreshold();
startLabels();
