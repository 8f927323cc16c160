import { stage, drawing, fit, zoom, pan, centre, bringOut, reveal, wasDragged, placeOn, go, fill, scaleOf } from "./page_view.js";
import { data, phase, make, button, short, card, panel } from "./page_panel.js";
import { sheets, alive, around, canOpen, isOpen, onDraw, change, uncover, spot, boxAt, shownAs, turn, level, start } from "./page_sheets.js";
import { find } from "./page_find.js";
import { trace } from "./page_trace.js";
import { weightsOf } from "./page_weights.js";
import {} from "./page_map.js";
import {} from "./page_save.js";
import { chooser } from "./page_colour.js";
import { toggleTable, showLine } from "./page_table.js";
// Wires events to the view, the sheets and the panel.
const boxes = new Map();
const side = document.getElementById("panel");
const tip = document.getElementById("card");
const search = document.getElementById("search");
const status = document.getElementById("hits");
const crumbs = document.getElementById("crumbs");
const rankdir = document.getElementById("rankdir");
const help = document.getElementById("help");
const traced = document.getElementById("traced");
let order = [];
let hits = [];
let found = new Set();
let holders = new Set();
let hitAt = -1;
let chosen = null;
let tracing = null;

// What is drawn has changed: find the boxes again, in reading order, and mark what is marked.
function gather() {
  boxes.clear();
  for (const element of drawing.querySelectorAll("[data-id]")) {
    boxes.set(element.dataset.id, element);
    element.setAttribute("tabindex", "-1");
  }
  order = [...boxes.keys()];
  holders = new Set(hits.map(shownAs).filter((id) => !found.has(id)));
  mark();
}

// Show on the drawing what is found, chosen and traced.
function mark() {
  const at = chosen === null ? null : shownAs(chosen);
  const path = tracing && trace(tracing);
  drawing.classList.toggle("traced", path !== null);
  for (const { part, made } of alive.values()) {
    for (const item of made) {
      const id = item.dataset.id;
      item.classList.toggle("hit", found.has(id));
      item.classList.toggle("holds", holders.has(id));
      item.classList.toggle("chosen", id !== undefined && id === chosen);
      item.classList.toggle("near", at !== null && (part.from === at || part.to === at));
      item.classList.toggle("on", path !== null && (path.boxes.has(part.id) || path.keys.has(part.wire || part.key)));
    }
  }
  for (const switcher of side.querySelectorAll("[data-way]")) switcher.setAttribute("aria-pressed", String(tracing?.way === switcher.dataset.way));
  traced.hidden = path === null;
  if (path) traced.firstElementChild.textContent = told(path.count);
}

const named = (id) => data.boxes[id].name || id;

function told(count) {
  const { way, id, other } = tracing;
  const words = { inputs: `Leads to ${named(id)}`, outputs: `Comes from ${named(id)}`, paths: `Between ${named(id)} and ${other && named(other)}` };
  return `${words[way]}: ${count === 1 ? "1 box" : `${count} boxes`}`;
}

function follow(way, id, other) {
  const same = tracing && tracing.way === way && tracing.id === id;
  tracing = same && way !== "paths" ? null : { way, id, other };
  mark();
}

function choose(id, how) {
  if (how === "go") {
    uncover(id);
    // What is out of view, or too small to be an element, is brought near.
    for (const bring of [go, fill]) if (!boxes.has(id) && spot(id)) bring(spot(id));
  }
  const element = boxes.get(id);
  if (!element) return;
  chosen = id;
  if (tracing && tracing.id !== id && tracing.other !== id) tracing = null;
  side.replaceChildren(...panel(id, (other) => choose(other, "go"), weightsOf(id)));
  side.prepend(tools(id), button("×", { className: "close", title: "Close (Escape)" }, letGo, "Close"));
  side.dataset.id = id;
  side.hidden = false;
  tip.hidden = true;
  lead(id);
  mark();
  showLine(id);
  address("#" + encodeURIComponent(id));
  if (how === "go") centre(element);
  else bringOut(element);
  element.focus({ preventScroll: true });
}

// Open or close the cost table; what was in the middle of the stage stays there.
function costs() {
  const [before, opener] = [stage.getBoundingClientRect(), document.getElementById("table")];
  toggleTable((id) => choose(id, "go"));
  const after = stage.getBoundingClientRect();
  pan((after.width - before.width) / 2, (after.height - before.height) / 2);
  opener.setAttribute("aria-expanded", opener.getAttribute("aria-expanded") !== "true");
}

// Another box is another entry of the browser's history.
function address(hash) {
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
}

function tools(id) {
  const line = Object.assign(make("div"), { className: "tools" });
  const traces = [["inputs", "Inputs", "Highlight all that leads here (i)"], ["outputs", "Outputs", "Highlight all that comes from here (o)"]];
  for (const [way, text, title] of traces) {
    const switcher = button(text, { title }, () => follow(way, id));
    switcher.dataset.way = way;
    line.append(switcher);
  }
  line.append(button("Copy name", { title: "Copy the name to the clipboard" }, (event) => copy(id, event.target)));
  return line;
}

async function copy(text, says) {
  try {
    await navigator.clipboard.writeText(text);
    says.textContent = "Copied";
  } catch {
    // Where the browser forbids it, the name is selected, ready for the reader's own keys.
    getSelection().selectAllChildren(side.querySelector("h2"));
    says.textContent = "Selected";
  }
}

// Where a box is: the groups around it, each of them a way there.
function lead(id) {
  const root = button(document.title, { title: "The whole drawing" }, () => {
    clear(true);
    fit();
  });
  const trail = id === null ? [] : [...around(id), id];
  const brief = trail.map((name, k) => (k && named(name).startsWith(`${trail[k - 1]}/`) ? named(name).slice(trail[k - 1].length + 1) : named(name)));
  const groups = trail.slice(0, -1).map((group, k) => button(brief[k], { title: group }, () => visit(group)));
  const last = trail.slice(-1).map(() => Object.assign(make("b", brief.at(-1)), { ariaCurrent: "location" }));
  crumbs.replaceChildren(...[root, ...groups, ...last].map((part) => make("li", null, part)));
}

function visit(group) {
  choose(group, "go");
  fill(spot(group));
}

function clear(forget) {
  chosen = tracing = null;
  lead(null);
  mark();
  side.hidden = true;
  delete side.dataset.id;
  if (forget) address("");
}

function letGo() {
  clear(true);
  stage.focus();
}

// Open or close a group; its corner stays where it is on the screen.
function toggle(id) {
  const [dx, dy] = change([id], !isOpen(id), id);
  pan(-dx * scaleOf(), -dy * scaleOf());
  tip.hidden = true;
  if (boxes.has(id)) boxes.get(id).focus({ preventScroll: true });
}

function turnTo() {
  turn(rankdir.value);
  fit();
  if (chosen !== null && spot(chosen)) go(spot(chosen));
}

function all(deeper) {
  change(level(deeper), deeper);
  fit();
}

function under(event) {
  const element = event.target.closest("[data-id]");
  return element && drawing.contains(element) ? element.dataset.id : event.target.closest(".outlines") ? boxAt(...placeOn(event)) : null;
}

stage.addEventListener("click", (event) => {
  if (wasDragged()) return;
  const id = under(event);
  if (id !== null && event.target.closest(".sign")) toggle(id);
  else if (id === null) clear(true);
  else if (event.shiftKey && chosen !== null && chosen !== id) follow("paths", chosen, id);
  else choose(id, boxes.has(id) ? "" : "go");
});
stage.addEventListener("dblclick", (event) => {
  const id = under(event);
  if (id !== null && canOpen(id)) toggle(id);
});
stage.addEventListener("mousemove", (event) => {
  const id = under(event);
  tip.hidden = id === null || event.buttons !== 0;
  if (tip.hidden) return;
  if (tip.dataset.for !== id) {
    tip.dataset.for = id;
    tip.replaceChildren(...card(id));
  }
  const size = tip.getBoundingClientRect();
  const right = event.clientX + 16 + size.width < innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX + 16 : event.clientX - 16 - size.width)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - size.height - 6))}px`;
});
stage.addEventListener("mouseleave", () => (tip.hidden = true));

// The keyboard: arrows and n, p walk over boxes, Enter and Space choose and open, Shift with them shows paths.
function step(forward) {
  if (!order.length) return;
  const here = document.activeElement.dataset.id;
  const at = here === undefined ? (forward ? -1 : order.length) : order.indexOf(here);
  const next = boxes.get(order[(at + (forward ? 1 : -1) + order.length) % order.length]);
  next.focus({ preventScroll: true });
  reveal(next);
}

function enter(id, shift) {
  if (id === undefined) return step(true);
  if (shift && chosen !== null && chosen !== id) return follow("paths", chosen, id);
  if (canOpen(id)) toggle(id);
  choose(id);
}

function traceFrom(way, id) {
  if (id !== undefined && id !== chosen) choose(id);
  if (chosen !== null) follow(way, chosen);
}

const PAN = 60;
const keys = {
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: fit,
  "/": () => search.focus(),
  t: costs,
  r() {
    rankdir.selectedIndex = (rankdir.selectedIndex + 1) % rankdir.length;
    turnTo();
  },
  c: () => chooser.focus(),
  n: () => step(true),
  p: () => step(false),
  i: (id) => traceFrom("inputs", id),
  o: (id) => traceFrom("outputs", id),
  Enter: enter,
  " ": enter,
  "?": () => help.showModal(),
};
for (const [key, x, y] of [["ArrowLeft", 1, 0], ["ArrowRight", -1, 0], ["ArrowUp", 0, 1], ["ArrowDown", 0, -1]]) {
  keys[key] = (id, shift) => (id === undefined || shift ? pan(x * PAN, y * PAN) : step(x + y < 0));
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.key === "Escape") letGo();
  else if (Object.hasOwn(keys, event.key) && !event.target.closest("header, aside, footer, section")) {
    keys[event.key](document.activeElement.dataset.id, event.shiftKey);
    event.preventDefault();
  }
});

search.addEventListener("input", () => {
  const text = search.value.trim();
  const result = text ? find(text) : [];
  search.setAttribute("aria-invalid", String(result === null));
  hits = result || [];
  found = new Set(hits);
  hitAt = -1;
  status.textContent = result === null ? "no regular expression" : text ? `${hits.length} found` : "";
  gather();
});
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !hits.length) return;
  hitAt = event.shiftKey ? (Math.max(hitAt, 0) || hits.length) - 1 : (hitAt + 1) % hits.length;
  choose(hits[hitAt], "go");
  status.textContent = `${hitAt + 1} of ${hits.length}`;
  search.focus();
});

const clicks = {
  fit,
  in: () => zoom(1.25),
  out: () => zoom(0.8),
  table: costs,
  deeper: () => all(true),
  shallower: () => all(false),
  untrace: () => {
    tracing = null;
    mark();
  },
  keys: () => help.showModal(),
  theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  },
};
// Another phase is the same page with other data, at an address of its own; the colours stay.
const chosenPhase = document.getElementById("phase");
if (chosenPhase) {
  // Set when the browser has filled in what it remembers, too.
  addEventListener("pageshow", () => (chosenPhase.value = phase));
  chosenPhase.addEventListener("change", () => (location.search = new URLSearchParams({ ...document.documentElement.dataset, phase: chosenPhase.value })));
  const theme = new URLSearchParams(location.search).get("theme");
  if (theme) document.documentElement.dataset.theme = theme;
}
rankdir.append(...data.rankdirs.map((name) => make("option", name)));
rankdir.addEventListener("change", turnTo);
for (const [id, act] of Object.entries(clicks)) document.getElementById(id).addEventListener("click", () => act());
for (const id of ["deeper", "shallower"]) document.getElementById(id).hidden = sheets.size < 2;

const totals = data.totals;
const parts = [];
if (totals.layers !== null) parts.push(`${totals.layers} layers`);
else parts.push(`${totals.nodes} nodes`);
parts.push(`${short(totals.parameters)} parameters`, `${short(totals.macs)} MACs`);
document.getElementById("totals").textContent = parts.join(" · ");
if (data.problems.length) {
  const notice = document.getElementById("problems");
  notice.hidden = false;
  notice.firstElementChild.textContent = data.problems.length === 1 ? "1 remark" : `${data.problems.length} remarks`;
  notice.lastElementChild.append(...data.problems.map((text) => make("li", text)));
}

function idOf(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return "";
  }
}

// The address names the chosen box: a link, back and forward lead to it.
function arrive() {
  const id = idOf(location.hash);
  if (id === chosen) return;
  if (Object.hasOwn(data.boxes, id)) choose(id, "go");
  else clear(false);
}
onDraw(gather);
fit();
const room = stage.clientHeight;
start();
// The legend may have taken a line.
if (stage.clientHeight !== room) fit();
gather();
clear(false);
arrive();
addEventListener("popstate", arrive);
