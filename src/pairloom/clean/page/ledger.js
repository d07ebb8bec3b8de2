// The ledger: unpacks the columns and answers questions about rows (texts) and pairs. Knows no element of the page.
const element = (name) => document.getElementById(name);
const packed = element("ledger");
const reportName = packed.dataset.name;

async function unpack(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

let book;
try {
  book = await unpack(packed.textContent);
} catch (error) {
  element("shown").textContent = "This browser cannot unpack the pairs (it lacks DecompressionStream, in every browser " +
    "since 2023, or the file is damaged). Everything is in pairs.parquet too.";
  return;
}
packed.remove(); // the packed copy is not needed again
const { pairs, texts, settings } = book;
const rowCount = texts.text.length;
const pairCount = pairs.key.length;
const decisionOf = (row) => book.decisions[texts.decision[row]];
const findingsOf = (row) => book.findings[texts.findings[row]];
const sourceOf = (row) => book.sources[texts.source[row]];
const reasonOf = (row) => book.reasons[texts.reason[row]];
const shardOf = (pair) => book.shards[pairs.shard[pair]];

// Rows of every pair: firstRow[pair] .. firstRow[pair + 1] in the list `ordered`.
const firstRow = new Uint32Array(pairCount + 1);
for (const pair of texts.pair) firstRow[pair + 1]++;
for (let pair = 0; pair < pairCount; pair++) firstRow[pair + 1] += firstRow[pair];
const ordered = new Uint32Array(rowCount);
const filled = firstRow.slice();
for (let row = 0; row < rowCount; row++) ordered[filled[texts.pair[row]]++] = row;
const rowsOf = (pair) => ordered.subarray(firstRow[pair], firstRow[pair + 1]);

function countPairs(belongs) {
  const seen = new Uint8Array(pairCount);
  let count = 0;
  for (let row = 0; row < rowCount; row++) {
    if (!seen[texts.pair[row]] && belongs(row)) { seen[texts.pair[row]] = 1; count++; }
  }
  return count;
}

let lowered = null; // lower-case texts, made at the first search
function says(row, words) {
  lowered ??= texts.text.map((text) => text.toLowerCase());
  return lowered[row].includes(words);
}

const whole = (value) => value.toLocaleString("en-US");
const percent = (value) => `${(100 * value).toFixed(1)}\u202f%`;
