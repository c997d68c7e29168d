"use strict";
// Everything that is shown of a row is set as text, or is a number or a name of hexadecimal digits.
const $ = (id) => document.getElementById(id);
const at = (value, least, most) => Math.min(Math.max(value, least), most);
const plain = (value) => Number(value.toPrecision(4)).toLocaleString("en");
const whole = (value) => value.toLocaleString("en");
const made = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text ?? "" });

const { palette, models, scale, unit } = GALLERY.about;
const collator = new Intl.Collator("en", { numeric: true });
const rows = [], failed = [];
for (const [path, ...cells] of GALLERY.rows) {
  if (cells.length === 1) { failed.push({ path, error: cells[0] }); continue; }
  const [percent, score, deviation, low, high, width, height, picture, missing, note, model, map, range] = cells;
  rows.push({ path, percent, score, deviation, low, high, width, height, picture, missing, note, model, map, range,
    index: rows.length, lower: path.toLowerCase(), name: path.slice(path.lastIndexOf("/") + 1) || path });
}
GALLERY.rows = null;
[...rows].sort((a, b) => a.percent - b.percent).forEach((row, place) => { row.rank = place; });

// Colours, of percent.
const channels = palette.map((text) => [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16)));
function colour(percent) {
  const place = at(percent, 0, 100) / 100 * (channels.length - 1), below = Math.min(Math.floor(place), channels.length - 2);
  const mixed = channels[below].map((value, n) => value + (channels[below + 1][n] - value) * (place - below));
  const light = 0.299 * mixed[0] + 0.587 * mixed[1] + 0.114 * mixed[2];
  return { fill: `rgb(${mixed.map(Math.round).join(" ")})`, ink: light > 112 ? "#16171a" : "#fff" };
}
const ramp = `linear-gradient(90deg, ${palette.join(", ")})`;
const file = (kind, name, ending) => `${kind}/${name.slice(0, 2)}/${name}.${ending}`;

// What is shown, and in which order.
const orders = {
  worst: (a, b) => a.rank - b.rank,
  best: (a, b) => b.rank - a.rank,
  name: (a, b) => collator.compare(a.name, b.name) || a.index - b.index,
  name_down: (a, b) => collator.compare(b.name, a.name) || b.index - a.index,
  uncertain: (a, b) => (b.deviation ?? -1) - (a.deviation ?? -1) || a.rank - b.rank,
  certain: (a, b) => (a.deviation ?? Infinity) - (b.deviation ?? Infinity) || a.rank - b.rank,
  given: (a, b) => a.index - b.index,
};
let sorted = [], named = [], shown = [], current = 0, from = 0, to = 100;
const inRange = ({ percent }) => (from <= 0 || percent >= from) && (to >= 100 || percent <= to);

function sort() { sorted = [...rows].sort(orders[$("sort").value]); filter(); }

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean), kept = shown[current];
  named = words.length ? sorted.filter((row) => words.every((word) => row.lower.includes(word))) : sorted;
  shown = named.filter(inRange);
  current = Math.max(shown.indexOf(kept), 0);
  const all = shown.length === rows.length;
  const part = from > 0 || to < 100 ? ` from ${from} to ${to} %` : "";
  $("count").textContent = (all ? "all" : whole(shown.length)) + ` of ${whole(rows.length)}${part}`;
  $("reset").hidden = all && !part && !words.length;
  $("none").hidden = shown.length > 0;
  drawHistogram();
  arrange();
  scrollTo(0, Math.min(scrollY, $("tools").offsetTop));
}

// The histogram: all photographs behind, those whose names match before it.
const BINS = 50, SVG = "http://www.w3.org/2000/svg";
const bars = [0, 1].map((layer) => Array.from({ length: BINS }, (_, bin) => {
  const bar = $("histogram").appendChild(document.createElementNS(SVG, "rect"));
  bar.setAttribute("x", bin * 10 + 0.5);
  bar.setAttribute("width", 9);
  if (!layer) bar.setAttribute("class", "all");
  return bar;
}));
function drawHistogram() {
  const counts = [rows, named].map((some) => {
    const found = new Array(BINS).fill(0);
    for (const row of some) found[at(Math.floor(row.percent / 100 * BINS), 0, BINS - 1)] += 1;
    return found;
  });
  const most = Math.max(1, ...counts[0]), width = 100 / BINS;
  bars.forEach((layer, n) => layer.forEach((bar, bin) => {
    const height = counts[n][bin] ? Math.max(1.5, 98 * counts[n][bin] / most) : 0;
    bar.setAttribute("height", height);
    bar.setAttribute("y", 100 - height);
    if (!n) return;
    const off = (bin + 1) * width <= from || bin * width >= to;
    bar.setAttribute("class", off ? "off" : "on");
    bar.setAttribute("fill", colour((bin + 0.5) * width).fill);
  }));
  $("from").value = from;
  $("to").value = to;
}
function setRange(one, other) {
  [from, to] = [at(Math.min(one, other), 0, 100), at(Math.max(one, other), 0, 100)];
  filter();
}
$("from").addEventListener("input", () => setRange(Math.min(+$("from").value, to - 1), to));
$("to").addEventListener("input", () => setRange(from, Math.max(+$("to").value, from + 1)));
let dragged = null;
const percentAt = (event) => {
  const box = $("histogram").getBoundingClientRect();
  return Math.round(at((event.clientX - box.left) / box.width * 100, 0, 100));
};
$("plot").addEventListener("pointerdown", (event) => {
  if (event.target.type === "range" || event.button) return;
  dragged = percentAt(event);
  $("plot").setPointerCapture(event.pointerId);
});
$("plot").addEventListener("pointermove", (event) => {
  if (dragged !== null && Math.abs(percentAt(event) - dragged) > 1) setRange(dragged, percentAt(event));
});
$("plot").addEventListener("pointerup", (event) => {
  if (dragged !== null && Math.abs(percentAt(event) - dragged) <= 1) {
    const width = 100 / BINS, bin = Math.min(Math.floor(dragged / width), BINS - 1);
    setRange(bin * width, (bin + 1) * width);
  }
  dragged = null;
});
$("plot").addEventListener("pointercancel", () => { dragged = null; });

// The grid: lines of one height, justified as in a book; only those near the screen have elements.
let lines = [];
const tiles = new Map();
const aspect = (row) => (row.width && row.height ? at(row.width / row.height, 0.6, 2.4) : 1);

function arrange() {
  const width = $("grid").clientWidth, gap = 6, wanted = width < 600 ? 130 : 190;
  lines = [];
  let start = 0, aspects = 0, top = 0;
  shown.forEach((row, place) => {
    aspects += aspect(row);
    const last = place === shown.length - 1, height = (width - gap * (place - start)) / aspects;
    if (height > wanted && !last) return;
    const used = Math.min(height, wanted * 1.1);
    let left = 0;
    const lefts = [];
    for (let n = start; n <= place; n += 1) { lefts.push(left); left += aspect(shown[n]) * used + gap; }
    lines.push({ start, end: place + 1, top, height: used, lefts });
    top += used + gap;
    start = place + 1;
    aspects = 0;
  });
  $("grid").style.height = `${top}px`;
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  draw();
}
const lineOf = (place) => firstLine((line) => line.end > place);
function firstLine(holds) {
  let low = 0, high = lines.length;
  while (low < high) { const middle = (low + high) >> 1; if (holds(lines[middle])) high = middle; else low = middle + 1; }
  return low;
}

function draw() {
  const top = -$("grid").getBoundingClientRect().top, more = innerHeight * 0.75;
  const wanted = new Set(), visible = [];
  for (let n = firstLine((line) => line.top + line.height >= top - more); n < lines.length; n += 1) {
    if (lines[n].top > top + innerHeight + more) break;
    visible.push(n);
  }
  if (lines.length) visible.push(lineOf(current)); // it keeps the focus
  for (const n of visible) {
    for (let place = lines[n].start; place < lines[n].end; place += 1) {
      wanted.add(place);
      if (!tiles.has(place)) tiles.set(place, $("grid").appendChild(newTile(place, lines[n])));
    }
  }
  for (const [place, tile] of tiles) if (!wanted.has(place)) { tile.remove(); tiles.delete(place); }
  for (const [place, tile] of tiles) {
    tile.tabIndex = place === current ? 0 : -1;
    tile.setAttribute("aria-selected", place === current);
  }
}
function newTile(place, line) {
  const row = shown[place], tile = made("div", "tile"), { fill, ink } = colour(row.percent);
  Object.assign(tile.style, { left: `${line.lefts[place - line.start]}px`, top: `${line.top}px`,
    width: `${aspect(row) * line.height}px`, height: `${line.height}px` });
  const facts = { role: "option", "aria-posinset": place + 1, "aria-setsize": shown.length,
    "aria-label": `${row.name}, ${Math.round(row.percent)} percent${row.missing ? `, ${row.missing}` : ""}` };
  for (const [key, value] of Object.entries(facts)) tile.setAttribute(key, value);
  tile.title = row.path;
  tile.dataset.place = place;
  if (row.picture) {
    const image = made("img", "");
    Object.assign(image, { alt: "", decoding: "async", draggable: false, src: file("thumbs", row.picture, "webp") });
    tile.append(image);
  } else tile.append(made("p", "", row.missing));
  const chip = made("span", "chip", Math.round(row.percent));
  Object.assign(chip.style, { background: fill, color: ink });
  tile.append(made("span", "name", row.name), chip);
  if (row.map) {
    const mapped = made("span", "mapped");
    mapped.style.background = ramp;
    mapped.title = "has a quality map";
    tile.append(mapped);
  }
  return tile;
}

function goTo(place, focus = true) {
  if (!shown.length) return;
  current = at(place, 0, shown.length - 1);
  const line = lines[lineOf(current)], top = $("grid").getBoundingClientRect().top + line.top;
  const above = $("tools").offsetHeight + 6;
  if (top < above) scrollBy(0, top - above);
  else if (top + line.height > innerHeight - 6) scrollBy(0, top + line.height - innerHeight + 6);
  draw();
  if (focus) tiles.get(current).focus({ preventScroll: true });
}
function beside(step) { // the photograph above or below
  const n = lineOf(current), line = lines[n], other = lines[n + step];
  if (!other) return current;
  const middle = (one, place) => one.lefts[place - one.start] + aspect(shown[place]) * one.height / 2;
  let best = other.start;
  for (let place = other.start; place < other.end; place += 1) {
    if (Math.abs(middle(other, place) - middle(line, current)) < Math.abs(middle(other, best) - middle(line, current))) best = place;
  }
  return best;
}
const page = () => Math.max(1, Math.floor((innerHeight - $("tools").offsetHeight) / (lines[0].height + 6)) - 1);
const moves = {
  ArrowLeft: () => current - 1,
  ArrowRight: () => current + 1,
  ArrowUp: () => beside(-1),
  ArrowDown: () => beside(1),
  Home: () => 0,
  End: () => shown.length - 1,
  PageUp: () => lines[Math.max(lineOf(current) - page(), 0)].start,
  PageDown: () => lines[Math.min(lineOf(current) + page(), lines.length - 1)].start,
};
$("grid").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (moves[event.key]) goTo(moves[event.key]());
  else if (event.key === "Enter" || event.key === " ") open(current);
  else return;
  event.preventDefault();
});
$("grid").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (tile) open(+tile.dataset.place);
});

// One photograph.
function open(place) {
  current = place;
  show();
  if (!$("viewer").open) $("viewer").showModal();
  $("close").focus({ focusVisible: false });
}
function show() {
  const row = shown[current], ratio = row.width && row.height ? row.width / row.height : 1.5;
  $("frame").style.setProperty("--aspect", ratio);
  $("frame").style.setProperty("--widest", Math.max(2 * (row.width || 640), 640));
  $("photo").hidden = !row.picture;
  $("gone").hidden = Boolean(row.picture);
  $("gone").textContent = row.missing;
  $("photo").alt = row.name;
  if (row.picture) {
    const thumb = file("thumbs", row.picture, "webp"); // also where no previews were made
    $("photo").onerror = () => { $("photo").onerror = null; $("photo").src = thumb; };
    $("photo").src = file("previews", row.picture, "jpg");
  }
  $("place").textContent = `${whole(current + 1)} of ${whole(shown.length)}`;
  $("previous").disabled = current === 0;
  $("next").disabled = current === shown.length - 1;
  $("name").textContent = row.name;
  $("percent").textContent = `${row.percent.toFixed(1)} %`;
  $("rank").textContent = rank(row);
  const percentOf = (value) => at(100 * (value - scale[0]) / (scale[1] - scale[0]), 0, 100);
  const hasInterval = row.low !== null && row.high !== null;
  $("mark").style.left = `${at(row.percent, 0, 100)}%`;
  $("interval").hidden = !(scale && hasInterval);
  if (scale && hasInterval) {
    const ends = [percentOf(row.low), percentOf(row.high)];
    $("interval").style.left = `${Math.min(...ends)}%`;
    $("interval").style.width = `${Math.abs(ends[1] - ends[0])}%`;
  }
  const values = [
    ["Score", `${plain(row.score)} ${unit}`.trim()],
    ["95 % interval", hasInterval ? `${plain(row.low)} to ${plain(row.high)}` : "not calibrated"],
    ["Crops differ by", row.deviation === null ? "" : `± ${plain(row.deviation)}`],
    ["Scale", meaning()],
    ["Size", row.width ? `${whole(row.width)} × ${whole(row.height)} pixels` : ""],
    ["Note", row.note],
    ["Path", row.path],
    ["Model", row.model < 0 ? "" : models[row.model]],
  ];
  $("values").replaceChildren(...values.filter(([, text]) => text).flatMap(([name, text]) => [made("dt", "", name), made("dd", "", text)]));
  $("mapping").hidden = !row.map;
  $("unmapped").hidden = Boolean(row.map);
  if (row.map) {
    $("map").src = file("maps", row.map, "png");
    $("low").textContent = `${Math.round(row.range[0])} %`;
    $("high").textContent = `${Math.round(row.range[1])} %`;
  }
  showMap();
  for (const next of [current - 1, current + 1]) {
    if (shown[next]?.picture) new Image().src = file("previews", shown[next].picture, "jpg");
  }
}
function rank({ rank: place }) {
  if (rows.length === 1) return "";
  if (place === 0) return "the worst of these";
  return place === rows.length - 1 ? "the best of these" : `better than ${Math.floor(100 * place / (rows.length - 1))} % of these`;
}
function showMap() {
  $("map").hidden = !(shown[current]?.map && $("shown").checked);
  $("frame").classList.toggle("beneath", !$("map").hidden);
  $("map").style.opacity = $("opacity").value / 100;
}
function meaning() {
  if (!scale) return "";
  const [low, high] = [Math.min(...scale), Math.max(...scale)];
  return `${unit} ${plain(low)} to ${plain(high)}, ${scale[1] > scale[0] ? "higher" : "lower"} is better`.trim();
}
function step(by) {
  if (shown[current + by]) { current += by; show(); }
}
$("viewer").addEventListener("keydown", (event) => {
  const slider = event.target.type === "range";
  if (event.key === "ArrowLeft" && !slider) step(-1);
  else if (event.key === "ArrowRight" && !slider) step(1);
  else if (event.key === "m" && !$("mapping").hidden) { $("shown").checked = !$("shown").checked; showMap(); }
  else return;
  event.preventDefault();
});
$("viewer").addEventListener("close", () => goTo(current));
let touched = null;
$("stage").addEventListener("touchstart", ({ touches }) => { touched = touches.length === 1 ? touches[0].clientX : null; }, { passive: true });
$("stage").addEventListener("touchend", ({ changedTouches }) => {
  const by = touched === null ? 0 : changedTouches[0].clientX - touched;
  if (Math.abs(by) > 40) step(by < 0 ? 1 : -1);
});
$("close").addEventListener("click", () => $("viewer").close());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("shown").addEventListener("change", showMap);
$("opacity").addEventListener("input", showMap);

// The rest of the page.
$("sort").addEventListener("change", sort);
$("search").addEventListener("input", filter);
$("tools").addEventListener("submit", (event) => { event.preventDefault(); goTo(current); });
$("reset").addEventListener("click", () => { $("search").value = ""; setRange(0, 100); $("search").focus(); });
document.addEventListener("keydown", (event) => {
  if ($("viewer").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target === $("search");
  if (event.key === "/" && !writing) { $("search").focus(); $("search").select(); event.preventDefault(); }
  else if (writing && event.key === "ArrowDown") { goTo(current); event.preventDefault(); }
  else if (writing && event.key === "Escape") { $("search").value = ""; filter(); event.preventDefault(); }
});
const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  $("theme").setAttribute("aria-pressed", (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark");
}
const stored = (() => { try { return localStorage; } catch { return {}; } })(); // a browser may refuse
$("theme").addEventListener("click", () => {
  stored.glintiqaTheme = $("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
  theme(stored.glintiqaTheme);
});
dark.addEventListener("change", () => theme());
theme(["light", "dark"].includes(stored.glintiqaTheme) ? stored.glintiqaTheme : "");

const direction = scale && scale[1] > scale[0] ? `percent of ${unit ? "" : "scores from "}${meaning()}` : `percent, higher is better${scale ? ` · ${meaning()}` : ""}`;
$("summary").textContent = [`${whole(rows.length)} photograph${rows.length === 1 ? "" : "s"}`, `quality in ${direction}`,
  ...(models.length > 1 ? [`${models.length} models`] : [])].join(" · ");
$("ramp").style.background = $("scale").style.background = ramp;
$("failed").hidden = !failed.length;
$("failed").querySelector("summary").textContent = `${whole(failed.length)} could not be scored`;
$("failed").addEventListener("toggle", () => {
  const most = 1000, left = failed.length - most;
  $("failed").querySelector("ul").replaceChildren(...failed.slice(0, most).map(({ path, error }) => {
    const item = made("li", "", path);
    item.append(made("span", "", ` ${error}`));
    return item;
  }), ...(left > 0 ? [made("li", "", `and ${whole(left)} more`)] : []));
});
let waiting = 0;
addEventListener("scroll", () => { waiting ||= requestAnimationFrame(() => { waiting = 0; draw(); }); }, { passive: true });
let width = $("grid").clientWidth;
new ResizeObserver(() => {
  if ($("grid").clientWidth === width) return;
  width = $("grid").clientWidth;
  const first = lines[firstLine((line) => line.top + line.height > -$("grid").getBoundingClientRect().top)]?.start ?? 0;
  const scrolled = scrollY > $("grid").offsetTop;
  arrange();
  if (scrolled && lines.length) scrollTo(0, $("grid").offsetTop + lines[lineOf(first)].top - $("tools").offsetHeight);
}).observe($("grid"));
addEventListener("resize", draw);
sort();
