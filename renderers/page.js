import { stage, drawing, fit, zoom, pan, centre, reveal, wasDragged, go, scaleOf } from "./page_view.js";
import { data, make, short, card, panel } from "./page_panel.js";
import { sheets, canOpen, isOpen, onDraw, change, uncover, spot, level, start } from "./page_sheets.js";
// Wires events to the view, the sheets and the panel.
const boxes = new Map();
const side = document.getElementById("panel");
const tip = document.getElementById("card");
const search = document.getElementById("search");
const names = Object.keys(data.boxes);
let order = [];
let hits = [];
let found = new Set();
let turn = -1;
let chosen = null;

// What is drawn has changed: find the boxes again, in reading order, and mark what is marked.
function gather() {
  boxes.clear();
  for (const element of drawing.querySelectorAll("[data-id]")) {
    boxes.set(element.dataset.id, element);
    element.setAttribute("tabindex", "-1");
    element.classList.toggle("hit", found.has(element.dataset.id));
    element.classList.toggle("chosen", element.dataset.id === chosen);
  }
  order = [...boxes.keys()];
  near();
}

function near() {
  const shown = chosen === null ? null : (boxes.get(chosen) || { dataset: {} }).dataset.rowOf || chosen;
  for (const wire of drawing.querySelectorAll("g.wire")) {
    wire.classList.toggle("near", shown !== null && (wire.dataset.from === shown || wire.dataset.to === shown));
  }
}

function choose(id, how) {
  if (sheets.size && how === "go") {
    uncover(id);
    if (!boxes.has(id) && spot(id)) go(spot(id));
  }
  const element = boxes.get(id);
  if (!element) return;
  clear(false);
  chosen = id;
  element.classList.add("chosen");
  near();
  side.replaceChildren(...panel(id, (other) => choose(other, "go")));
  const close = Object.assign(make("button", "×"), { className: "close", title: "Close (Escape)" });
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => clear(true));
  side.append(close);
  side.dataset.id = id;
  side.hidden = false;
  tip.hidden = true;
  history.replaceState(null, "", "#" + encodeURIComponent(id));
  if (how === "go") centre(element);
  boxes.get(id).focus({ preventScroll: true });
}

function clear(forget) {
  if (chosen !== null && boxes.has(chosen)) boxes.get(chosen).classList.remove("chosen");
  chosen = null;
  near();
  side.hidden = true;
  delete side.dataset.id;
  if (forget) history.replaceState(null, "", location.pathname + location.search);
}

// Open or close a group; its corner stays where it is on the screen.
function toggle(id) {
  const [dx, dy] = change([id], !isOpen(id), id);
  pan(-dx * scaleOf(), -dy * scaleOf());
  tip.hidden = true;
  if (boxes.has(id)) boxes.get(id).focus({ preventScroll: true });
}

function all(deeper) {
  change(level(deeper), deeper);
  fit();
}

function under(event) {
  const element = event.target.closest && event.target.closest("[data-id]");
  return element && drawing.contains(element) ? element.dataset.id : null;
}

stage.addEventListener("click", (event) => {
  if (wasDragged()) return;
  const id = under(event);
  if (id !== null && event.target.closest(".sign")) toggle(id);
  else if (id === null) clear(true);
  else choose(id);
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

// The keyboard: arrows walk along wires and rows, + - 0 zoom, Enter pins, Escape closes.
function step(forward) {
  const here = document.activeElement.dataset ? document.activeElement.dataset.id : undefined;
  const at = here === undefined ? (forward ? -1 : order.length) : order.indexOf(here);
  const next = boxes.get(order[(at + (forward ? 1 : -1) + order.length) % order.length]);
  next.focus({ preventScroll: true });
  reveal(next);
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    clear(true);
    stage.focus();
    return;
  }
  if (event.target === search || event.target.closest("header, aside")) return;
  const focused = document.activeElement.dataset && document.activeElement.dataset.id;
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.key in moves) {
    if (focused === undefined || event.shiftKey) pan(...moves[event.key]);
    else step(event.key === "ArrowDown" || event.key === "ArrowRight");
  } else if (event.key === "n" || event.key === "p") step(event.key === "n");
  else if (event.key === "Enter" && focused !== undefined) {
    if (canOpen(focused)) toggle(focused);
    choose(focused);
  }
  else if (event.key === "Enter" && order.length) step(true);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "/") search.focus();
  else return;
  event.preventDefault();
});

// Search: every box whose name, id or type holds the text; Enter goes to the next one.
search.addEventListener("input", () => {
  const text = search.value.trim().toLowerCase();
  hits = text ? names.filter((id) => [id, data.boxes[id].name, data.boxes[id].type].some((part) => String(part || "").toLowerCase().includes(text))) : [];
  found = new Set(hits);
  turn = -1;
  for (const [id, element] of boxes) element.classList.toggle("hit", found.has(id));
  document.getElementById("hits").textContent = text ? `${hits.length} found` : "";
});
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !hits.length) return;
  turn = (turn + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
  choose(hits[turn], "go");
  search.focus();
});

document.getElementById("fit").addEventListener("click", fit);
document.getElementById("in").addEventListener("click", () => zoom(1.25));
document.getElementById("out").addEventListener("click", () => zoom(0.8));
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

for (const [id, deeper] of [["deeper", true], ["shallower", false]]) {
  const button = document.getElementById(id);
  button.hidden = !sheets.size;
  button.addEventListener("click", () => all(deeper));
}

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
function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (Object.hasOwn(data.boxes, id)) choose(id, "go");
}
onDraw(gather);
fit();
start();
gather();
follow();
addEventListener("hashchange", follow);
