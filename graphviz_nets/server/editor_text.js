// The text: a textarea as large as its content, and over it the same lines in colour, as far as they are in view.
// Both lie in one scrolling box, so that nothing has to be kept in step.
const scroll = document.getElementById("scroll");
const sheet = document.getElementById("sheet");
const area = document.getElementById("text");
const lines = document.getElementById("lines");
const HIGH = 19;
const PAD = 8;
const AROUND = 40;
const LONGEST = 2000;
let rows = [""];
let starts = [0];
let marks = new Map();
let shown = new Map();
const changed = [];
const moved = [];
export const onChange = (listener) => changed.push(listener);
export const onMove = (listener) => moved.push(listener);
export const text = () => area.value;

// One alternative each for comments, strings, numbers, words; a word before a colon or bracket is a field's name.
const TOKEN = /(#.*)|("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)|([+-]?\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)|([A-Za-z_][\w.-]*)(?=\s*[:{<])|([A-Za-z_][\w.-]*)|[^#"'+\-.\w]+|./g;
const CLASSES = [null, "comment", "string", "digits", "key", "word"];

function coloured(line, fault) {
  if (line.length > LONGEST) return [line];
  return [...line.matchAll(TOKEN)].map((found) => {
    const kind = CLASSES[found.findIndex((part, k) => k > 0 && part !== undefined)] || "";
    const faulty = found.index <= fault && fault < found.index + found[0].length;
    return kind || faulty ? span(`${kind} ${faulty ? "fault" : ""}`, found[0]) : found[0];
  });
}

function span(kind, content) {
  return Object.assign(document.createElement("span"), { className: kind, textContent: content });
}

// Make the lines that have come into view, drop those that have left it.
function paint() {
  const first = Math.max(0, Math.floor(scroll.scrollTop / HIGH) - AROUND);
  const last = Math.min(rows.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / HIGH) + AROUND);
  const here = lineAt(area.selectionStart) - 1;
  const kept = new Map();
  const fresh = [];
  for (let k = first; k < last; k++) {
    const mark = marks.get(k + 1) || {};
    const key = JSON.stringify([rows[k], mark.kind, mark.column, k === here]);
    let made = shown.get(k);
    if (!made || made.key !== key) {
      made = { key, element: document.createElement("div") };
      made.element.className = `line ${mark.kind || ""} ${k === here ? "here" : ""}`;
      made.element.style.top = `${k * HIGH}px`;
      made.element.append(span("number", k + 1), ...coloured(rows[k], mark.column === undefined ? -1 : mark.column - 1));
      fresh.push(made.element);
    }
    kept.set(k, made);
  }
  for (const [k, made] of shown) if (kept.get(k) !== made) made.element.remove();
  lines.append(...fresh);
  shown = kept;
}

// How many columns a line takes at most: wide characters take two, tabs end at a multiple of four.
function columns(line) {
  let count = 0;
  for (const char of line) count += char === "\t" ? 4 - (count % 4) : char > "\u10ff" ? 2 : 1;
  return count;
}

function measure() {
  rows = area.value.split("\n");
  starts = [];
  let at = 0;
  let widest = 0;
  for (const row of rows) {
    starts.push(at);
    at += row.length + 1;
    if (row.length * 2 > widest) widest = Math.max(widest, columns(row));
  }
  sheet.style.width = `calc(var(--gutter) + ${widest + 4}ch)`;
  sheet.style.height = `${rows.length * HIGH + 2 * PAD}px`;
}

// The line (from 1) of a place in the text.
export function lineAt(place) {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= place) low = middle;
    else high = middle;
  }
  return low + 1;
}

// The first and the last line of the selection.
export const selection = () => [lineAt(area.selectionStart), lineAt(area.selectionEnd)];

export function load(content) {
  area.value = content;
  measure();
  area.setSelectionRange(0, 0);
  scroll.scrollTo(0, 0);
  paint();
}

// Replace the whole text as one step that can be undone.
export function replace(content) {
  area.focus();
  area.select();
  insert(content);
  area.setSelectionRange(0, 0);
  scroll.scrollTo(0, 0);
}

// The one way to change the text that the browser can undo.
const insert = (content) => document.execCommand("insertText", false, content);

export function mark(given) {
  marks = given;
  paint();
}

export function select(first, last) {
  area.focus({ preventScroll: true });
  area.setSelectionRange(starts[first - 1], starts[last - 1] + rows[last - 1].length);
  reveal(first, last);
}

export function go(line, column) {
  const place = starts[Math.min(line, rows.length) - 1] + Math.min((column || 1) - 1, rows[Math.min(line, rows.length) - 1].length);
  area.focus({ preventScroll: true });
  area.setSelectionRange(place, place);
  reveal(line, line);
}

function reveal(first, last) {
  const [top, bottom] = [(first - 1) * HIGH, last * HIGH + 2 * PAD];
  const room = scroll.clientHeight;
  if (top < scroll.scrollTop || bottom > scroll.scrollTop + room) scroll.scrollTop = Math.max(0, top - Math.max(HIGH, (room - (bottom - top)) / 2));
  scroll.scrollLeft = 0;
}

area.addEventListener("input", () => {
  measure();
  paint();
  for (const listener of changed) listener();
});
document.addEventListener("selectionchange", () => {
  if (document.activeElement !== area) return;
  paint();
  for (const listener of moved) listener();
});
scroll.addEventListener("scroll", paint);
new ResizeObserver(paint).observe(scroll);

// Enter keeps the indentation, one deeper after a bracket; Tab indents, until Escape has been pressed.
let leaving = false;
area.addEventListener("keydown", (event) => {
  if (event.key === "Escape") leaving = true;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Tab" && !leaving && !event.shiftKey) {
    event.preventDefault();
    insert("  ");
  } else if (event.key === "Enter") {
    event.preventDefault();
    const before = area.value.slice(starts[lineAt(area.selectionStart) - 1], area.selectionStart);
    insert(`\n${/^[ \t]*/.exec(before)[0]}${/[{[]\s*$/.test(before) ? "  " : ""}`);
  }
  if (event.key !== "Escape") leaving = false;
});
