import { stage, drawing, fit, zoom, pan, reveal, resize, wasDragged } from "./page_view.js";
import { data, card, make } from "./page_panel.js";
// The graph: the drawing of the last text that was whole, put in element by element, so that nothing else can come in.
const facts = document.getElementById("facts");
const SVG = "http://www.w3.org/2000/svg";
const TAGS = new Set("g rect text path polygon title".split(" "));
const ATTRIBUTES = new Set(
  "class data-id data-kind data-parent data-row-of data-from data-to data-control aria-label transform x y width height rx d points fill stroke stroke-width stroke-dasharray font-size font-weight text-anchor textLength lengthAdjust".split(" "),
);
const clicked = [];
const toggled = [];
export const onClick = (listener) => clicked.push(listener);
export const onToggle = (listener) => toggled.push(listener);
let boxes = new Map();
let lines = {};
let groups = {};
let chosen = null;
let empty = true;

// A copy of what is on the two lists; all else is left out.
function copy(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (!TAGS.has(node.localName)) return "";
  const made = document.createElementNS(SVG, node.localName);
  for (const { name, value } of node.attributes) if (ATTRIBUTES.has(name)) made.setAttribute(name, value);
  made.append(...[...node.childNodes].map(copy));
  return made;
}

// Show an answer; what is in the middle of the view stays where it is, unless the drawing is to begin anew.
export function show(answer, anew) {
  const before = empty || anew ? null : middle();
  const root = new DOMParser().parseFromString(answer.svg, "image/svg+xml").documentElement;
  drawing.replaceChildren(...[...root.children].filter((node) => node.localName !== "title").map(copy));
  drawing.dataset.rankdir = answer.rankdir;
  resize(Number(root.getAttribute("width")), Number(root.getAttribute("height")));
  data.boxes = answer.boxes;
  ({ lines, groups } = answer);
  boxes = new Map([...drawing.querySelectorAll("[data-id]")].map((element) => [element.dataset.id, element]));
  for (const [id, element] of boxes) {
    element.setAttribute("tabindex", "-1");
    if (Object.hasOwn(groups, id)) {
      element.setAttribute("role", "button");
      element.setAttribute("aria-expanded", String(groups[id]));
    }
  }
  if (before === null) fit();
  else if (boxes.has(before.id)) {
    const place = corner(boxes.get(before.id));
    pan(before.place[0] - place[0], before.place[1] - place[1]);
  }
  empty = false;
  mark(chosen, false);
}

const corner = (element) => {
  const box = element.getBoundingClientRect();
  return [box.left, box.top];
};

// The closed box that is nearest to the middle of the view, and where it is.
function middle() {
  const room = stage.getBoundingClientRect();
  const [x, y] = [room.left + room.width / 2, room.top + room.height / 2];
  let best = null;
  for (const [id, element] of boxes) {
    const box = element.getBoundingClientRect();
    const far = Math.hypot(Math.max(box.left - x, x - box.right, 0), Math.max(box.top - y, y - box.bottom, 0));
    if (!groups[id] && (best === null || far < best.far)) best = { id, far, place: corner(element) };
  }
  return best;
}

// Mark a box (or none) and its wires, and say what is known of it.
export function mark(id, shown) {
  chosen = id;
  const element = boxes.get(id);
  for (const [other, one] of boxes) one.classList.toggle("chosen", one === element && other === id);
  const home = element ? element.dataset.rowOf || id : null;
  for (const wire of drawing.querySelectorAll("g.wire")) {
    wire.classList.toggle("near", home !== null && (wire.dataset.from === home || wire.dataset.to === home));
  }
  tell(id);
  if (element && shown) reveal(element);
}

function tell(id) {
  const known = boxes.has(id) && Object.hasOwn(data.boxes, id);
  facts.replaceChildren(...(known ? card(id) : []));
  if (!Object.hasOwn(groups, id)) return;
  facts.append(Object.assign(make("p", `Double click or Enter ${groups[id] ? "closes" : "opens"} it`), { className: "exact" }));
}

// The smallest shown box that holds these lines; of two equal ones the one that is marked already.
export function boxOf(first, last) {
  let best = null;
  let least = Infinity;
  for (const [id] of boxes) {
    const place = Object.hasOwn(lines, id) ? lines[id] : null;
    if (!place || place[0] > first || place[1] < last) continue;
    const size = place[1] - place[0];
    if (size < least || (size === least && id === chosen)) [best, least] = [id, size];
  }
  return best;
}

export const linesOf = (id) => (Object.hasOwn(lines, id) ? lines[id] : null);

function under(event) {
  const element = event.target.closest("[data-id]");
  return element && drawing.contains(element) ? element.dataset.id : null;
}

stage.addEventListener("click", (event) => {
  const id = under(event);
  if (wasDragged() || id === null) return;
  mark(id, false);
  for (const listener of clicked) listener(id);
});
function toggle(id) {
  if (Object.hasOwn(groups, id)) for (const listener of toggled) listener(id, !groups[id]);
}

stage.addEventListener("dblclick", (event) => toggle(under(event)));
stage.addEventListener("mousemove", (event) => event.buttons || tell(under(event) ?? chosen));
stage.addEventListener("mouseleave", () => tell(chosen));
stage.addEventListener("keydown", (event) => {
  const keys = { Enter: () => toggle(chosen), "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit };
  if (Object.hasOwn(keys, event.key) && !event.ctrlKey && !event.metaKey) keys[event.key]();
});
for (const [id, act] of [["fit", fit], ["in", () => zoom(1.25)], ["out", () => zoom(0.8)]]) document.getElementById(id).addEventListener("click", act);
