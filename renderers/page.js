import { stage, drawing, fit, zoom, pan, centre, reveal, wasDragged } from "./page_view.js";
import { data, make, short, card, panel } from "./page_panel.js";
// Wires events to the view and the panel.
const boxes = new Map();
for (const element of drawing.querySelectorAll("[data-id]")) {
  boxes.set(element.dataset.id, element);
  element.setAttribute("tabindex", "-1");
}
const wires = [...drawing.querySelectorAll("g.wire")];
const side = document.getElementById("panel");
const tip = document.getElementById("card");
const search = document.getElementById("search");
let chosen = null;

function choose(id, how) {
  const element = boxes.get(id);
  if (!element) return;
  clear(false);
  chosen = id;
  element.classList.add("chosen");
  const shown = element.dataset.rowOf || id;
  for (const wire of wires) wire.classList.toggle("near", wire.dataset.from === shown || wire.dataset.to === shown);
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
  element.focus({ preventScroll: true });
}

function clear(forget) {
  if (chosen !== null) boxes.get(chosen).classList.remove("chosen");
  for (const wire of wires) wire.classList.remove("near");
  chosen = null;
  side.hidden = true;
  delete side.dataset.id;
  if (forget) history.replaceState(null, "", location.pathname + location.search);
}

function under(event) {
  const element = event.target.closest && event.target.closest("[data-id]");
  return element && drawing.contains(element) ? element.dataset.id : null;
}

stage.addEventListener("click", (event) => {
  if (wasDragged()) return;
  const id = under(event);
  if (id === null) clear(true);
  else choose(id);
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
const order = [...boxes.keys()];
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
  else if (event.key === "Enter" && focused !== undefined) choose(focused);
  else if (event.key === "Enter" && order.length) step(true);
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "/") search.focus();
  else return;
  event.preventDefault();
});

// Search: every box whose name, id or type holds the text; Enter goes to the next one.
let hits = [];
let turn = -1;
search.addEventListener("input", () => {
  const text = search.value.trim().toLowerCase();
  hits = text ? order.filter((id) => [id, data.boxes[id].name, data.boxes[id].type].some((part) => String(part || "").toLowerCase().includes(text))) : [];
  turn = -1;
  for (const [id, element] of boxes) element.classList.toggle("hit", hits.includes(id));
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
  if (boxes.has(id)) choose(id, "go");
}
fit();
follow();
addEventListener("hashchange", follow);
