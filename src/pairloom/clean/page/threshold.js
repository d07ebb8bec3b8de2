// The threshold slider: what another threshold would drop, counted over the ledger and estimated with P(match).
const slider = element("threshold");

function startThreshold() {
  if (!settings.histogram || settings.threshold === null || settings.threshold === undefined) return;
  const { edges, planted } = settings.histogram;
  const low = edges[0], high = edges[edges.length - 1];
  const rows = [];
  for (let row = 0; row < rowCount; row++) if (judged(row)) rows.push(row);
  rows.sort((one, two) => texts.score[one] - texts.score[two]);
  const sums = new Float64Array(rows.length + 1); // how many true pairs lie below, by P(match)
  rows.forEach((row, at) => { sums[at + 1] = sums[at] + (texts.p[row] ?? 0); });
  const known = settings.decides && rows.some((row) => texts.p[row] !== null);
  const plantedSum = planted.reduce((sum, count) => sum + count, 0);

  const below = (threshold) => {
    let from = 0, to = rows.length;
    while (from < to) { const middle = (from + to) >> 1; if (texts.score[rows[middle]] < threshold) from = middle + 1; else to = middle; }
    return from;
  };
  const plantedBelow = (threshold) => planted.reduce((sum, count, bin) => {
    const part = (threshold - edges[bin]) / (edges[bin + 1] - edges[bin]);
    return sum + count * Math.min(1, Math.max(0, part));
  }, 0) / plantedSum;
  const chanceAt = (score) => {
    const curve = settings.curve, after = curve.findIndex(([place]) => place >= score);
    if (!curve.length) return null;
    if (after <= 0) return curve[after === 0 ? 0 : curve.length - 1][1];
    const [[left, p], [right, q]] = [curve[after - 1], curve[after]];
    return p + (q - p) * (score - left) / (right - left || 1);
  };

  const draw = () => {
    movedThreshold = Number(slider.value);
    if (Math.abs(movedThreshold - settings.threshold) < (high - low) / 2000) movedThreshold = settings.threshold;
    const place = `${100 * (movedThreshold - low) / (high - low)}%`;
    const [shade, line] = [document.querySelector(".below"), document.querySelector(".moved")];
    shade.hidden = false;
    line.hidden = movedThreshold === settings.threshold;
    shade.style.width = line.style.left = place;
    const count = below(movedThreshold), now = below(settings.threshold), p = chanceAt(movedThreshold);
    const lost = known && sums[rows.length] ? sums[count] / sums[rows.length] : null;
    const parts = [
      `Below score ${movedThreshold.toPrecision(3).replace("-", "\u2212")}${p === null ? "" : ` (P ${p.toFixed(2)})`}: ` +
        `${whole(count)} of ${whole(rows.length)} texts, ${percent(count / rows.length)}.`,
      plantedSum ? `About ${percent(plantedBelow(movedThreshold))} of the planted mismatches lie there` : "",
      lost === null ? "" : `${plantedSum ? " and" : "About"} ${percent(lost)} of the true pairs (estimated).`,
    ];
    const words = parts[0] + " " + parts[1] + (parts[1] && !parts[2] ? "." : "") + parts[2] +
      (count === now ? (settings.decides ? " This is the run's threshold." : " The run itself used no threshold.") : ` ${count > now ? "+" : "\u2212"}${whole(Math.abs(count - now))} against the run.`);
    element("threshold-says").textContent = words;
    slider.setAttribute("aria-valuetext", words);
    element("threshold-show").disabled = count === now;
    element("threshold-reset").disabled = movedThreshold === settings.threshold;
    if (gallery.view === "change" && count === now) show({ view: "all" });
  };
  slider.min = low; slider.max = high; slider.step = (high - low) / 1000;
  slider.value = settings.threshold;
  slider.oninput = draw;
  slider.onchange = () => { if (gallery.view === "change") show({}); };
  element("threshold-reset").onclick = () => { slider.value = settings.threshold; draw(); };
  element("threshold-show").onclick = () => {
    show({ view: "change", finding: "", query: "" });
    element("query").value = element("finding").value = "";
    element("gallery").scrollIntoView({ block: "start" });
    focusCard(0);
  };
  draw();
  document.querySelector(".slider").hidden = false;
}
