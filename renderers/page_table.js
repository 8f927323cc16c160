import { data, make, button, short, bytes } from "./page_panel.js";
import { around, sheets } from "./page_sheets.js";
// The cost table: a line for each layer. Only the lines in view are elements, so ten thousand are as quick as ten.
const HIGH = 27;
const SPARE = 10;
const holder = document.getElementById("costs");
const scroller = make("div");
const body = make("tbody");
const text = (value) => (value === undefined ? "" : short(value));
const columns = [
  { key: "name", title: "Name" },
  { key: "type", title: "Type" },
  { key: "times", title: "Times", number: true, write: (value) => (value > 1 ? `×${value}` : "") },
  { key: "parameters", title: "Parameters", number: true, write: text },
  { key: "macs", title: "MACs", number: true, write: text },
  { key: "activation_bytes", title: "Activations", number: true, write: (value) => (value === undefined ? "" : bytes(value)) },
];
const sorting = { key: null, down: false };
let lines = null;
let sorted = [];
let current = null;
let pick = null;

// Groups that open are shown by what they hold; a layer in a run counts as often as the run repeats it.
function count() {
  const listed = Object.keys(data.boxes).filter((id) => !sheets.has(id) && !data.boxes[id].stub_of && !data.boxes[id].row_of);
  return listed.flatMap((id) => [id, ...data.boxes[id].rows]).map((id) => {
    const about = data.boxes[id];
    const times = [...around(id), about.row_of ?? id].reduce((product, one) => product * (data.boxes[one].times || 1), 1);
    return { ...about, id, name: about.name || id, times };
  });
}

function compare(one, two) {
  const [a, b] = [one[sorting.key] ?? null, two[sorting.key] ?? null];
  if (a === null || b === null) return (a === null) - (b === null);
  const found = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return sorting.down ? -found : found;
}

// First as it is most wanted (largest, or A to Z), then the other way round, then as the network goes.
function sortBy(column) {
  const first = Boolean(column.number);
  const next = sorting.key !== column.key ? [column.key, first] : sorting.down === first ? [column.key, !first] : [null, false];
  [sorting.key, sorting.down] = next;
  sorted = sorting.key === null ? lines : [...lines].sort(compare);
  heads();
  scroller.scrollTop = 0;
  fillLines();
}

function heads() {
  for (const head of holder.querySelectorAll("th")) {
    const here = head.dataset.key === sorting.key;
    head.setAttribute("aria-sort", here ? (sorting.down ? "descending" : "ascending") : "none");
  }
}

// A long name keeps its end, which tells it from its neighbours.
function nameOf({ id, name }) {
  const group = `${around(id).at(-1)}/`;
  const start = name.startsWith(group) ? group.length : 0;
  const made = button("", { title: name, tabIndex: id === current ? 0 : -1, ariaLabel: name });
  made.append(Object.assign(make("span", name.slice(0, start)), { className: "path" }), make("span", name.slice(start)));
  return made;
}

function lineOf(about, place) {
  const made = make("tr");
  made.setAttribute("aria-rowindex", place + 2);
  if (about.id === current) made.setAttribute("aria-current", "true");
  for (const { key, number, write } of columns) {
    const cell = make("td", key === "name" ? null : write ? write(about[key]) : about[key]);
    if (number) cell.className = "number";
    if (key === "name") cell.append(nameOf(about));
    made.append(cell);
  }
  made.addEventListener("click", () => pick(about.id));
  return made;
}

function spacer(count) {
  const made = make("tr");
  made.setAttribute("aria-hidden", "true");
  made.style.height = `${count * HIGH}px`;
  return made;
}

// The line that has the focus keeps it, as long as it is in view.
const focused = () => (body.contains(document.activeElement) ? placeOf(document.activeElement.closest("tr")) : -1);
const placeOf = (line) => Number(line.getAttribute("aria-rowindex")) - 2;

function fillLines(focus = focused()) {
  const from = Math.max(0, Math.floor(scroller.scrollTop / HIGH) - SPARE);
  const to = Math.min(sorted.length, from + Math.ceil(scroller.clientHeight / HIGH) + 2 * SPARE);
  body.replaceChildren(spacer(from), ...sorted.slice(from, to).map((about, k) => lineOf(about, from + k)), spacer(sorted.length - to));
  if (!body.querySelector("[tabindex='0']")) body.querySelectorAll("button").forEach((first, k) => k || (first.tabIndex = 0));
  if (focus >= 0) (body.querySelector(`[aria-rowindex="${focus + 2}"] button`) || scroller).focus({ preventScroll: true });
}

// Make a line the current one and bring it into view.
export function showLine(id) {
  current = id;
  if (holder.hidden) return;
  bringLine(sorted.findIndex((about) => about.id === id));
  fillLines();
}

function bringLine(place) {
  const [top, room] = [place * HIGH, scroller.clientHeight - 2 * HIGH];
  if (place >= 0 && (top < scroller.scrollTop || top > scroller.scrollTop + room)) scroller.scrollTop = top - room / 2;
}

function walk(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || event.target.closest("thead")) return;
  event.preventDefault();
  const here = focused() < 0 ? Math.floor(scroller.scrollTop / HIGH) : focused();
  const next = Math.min(sorted.length - 1, Math.max(0, here + steps[event.key]));
  bringLine(next);
  fillLines(next);
}

function build() {
  lines = sorted = count();
  if (lines.every((about) => about.times === 1)) columns.splice(2, 1);
  const line = make("tr");
  for (const column of columns) {
    const head = make("th", null, button(column.title, { title: `Sort by ${column.title.toLowerCase()}` }, () => sortBy(column)));
    head.scope = "col";
    head.dataset.key = column.key;
    if (column.number) head.className = "number";
    line.append(head);
  }
  const table = make("table", null, make("thead", null, line), body);
  table.setAttribute("aria-rowcount", lines.length + 1);
  table.setAttribute("aria-label", "Cost of each layer");
  scroller.className = "scroller";
  scroller.tabIndex = -1;
  scroller.append(table);
  scroller.addEventListener("scroll", () => fillLines());
  scroller.addEventListener("keydown", walk);
  holder.append(scroller);
  heads();
}

// Open or close the table; `chooses` is called with the id of a line that is picked.
export function toggleTable(chooses) {
  pick = chooses;
  holder.hidden = !holder.hidden;
  if (holder.hidden) return;
  if (lines === null) build();
  showLine(current);
}
