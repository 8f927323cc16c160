import { data, make, short, bytes } from "./page_panel.js";
import { element } from "./page_shapes.js";
import { alive, isOpen, onDraw, redraw, shown } from "./page_sheets.js";
// Colours that show a number, a data type, a device or what is equal in place of the kind. The number also stands in the box, and a bar shows its share.
const STEPS = 5;
const CLASSES = 6;
const legend = document.getElementById("legend");
export const chooser = document.getElementById("colour");
const plain = (value) => String(Number(value.toPrecision(6)));
// Costs are spread by their square roots, from zero, for a few layers have most of it; an overlay's values evenly, from the least.
const byRoot = { from: () => 0, bend: Math.sqrt, straighten: (share) => share * share };
const evenly = { from: (values) => Math.min(...values), bend: (share) => share, straighten: (share) => share };
const measures = {
  parameters: { title: "Parameters", write: short, ...byRoot },
  macs: { title: "MACs", write: short, ...byRoot },
  activation_bytes: { title: "Activation memory", write: bytes, ...byRoot },
  value: { title: data.overlay || "Overlay", write: plain, ...evenly },
};
let look = null;
let explained = null;
let explainedKey = null;

const known = (key) => Object.values(data.boxes).some((about) => about[key]);

function byNumber(key, ids) {
  const { title, write, from, bend, straighten } = measures[key];
  const values = ids.map((id) => data.boxes[id][key]).filter((value) => typeof value === "number");
  const [low, high] = values.length ? [from(values), Math.max(...values)] : [0, 0];
  const shareOf = (value) => (high > low ? (value - low) / (high - low) : 0);
  // A step reaches up to its limit, which the legend names.
  const stepOf = (share) => Math.max(0, Math.ceil(bend(share) * STEPS) - 1);
  const limits = Array.from({ length: STEPS }, (_, k) => low + straighten((k + 1) / STEPS) * (high - low));
  return {
    title,
    keys: limits.map((limit, k) => [`v${k}`, `≤ ${write(limit)}`]),
    of(about) {
      const value = about[key];
      if (typeof value !== "number") return { text: value === null ? "unknown" : "" };
      return { style: `v${stepOf(shareOf(value))}`, text: write(value), share: shareOf(value) };
    },
  };
}

// Several types, or devices, have no colour of their own, but their names and a broken border.
const classes = { dtype: "Data type", device: "Device" };

function byClass(key, ids) {
  const all = `${key}s`;
  const mixed = ids.some((id) => data.boxes[id][all]);
  const values = [...new Set(ids.flatMap((id) => data.boxes[id][all] ?? data.boxes[id][key] ?? []))].sort();
  const style = (value) => `c${values.indexOf(value) % CLASSES}`;
  return {
    title: classes[key],
    keys: [...values.map((value) => [style(value), value]), ...(mixed ? [["mixed", "several"]] : [])],
    of(about) {
      const many = about[all];
      if (many) return { style: "mixed", text: many.length > 2 ? `${many.length} ${key === "dtype" ? "types" : all}` : many.join(", ") };
      return about[key] ? { style: style(about[key]), text: about[key] } : { text: "" };
    },
  };
}

// What is equal but for names and weights has one colour; what there is once has none.
function byStructure(ids) {
  const equal = new Map();
  for (const id of ids) {
    const { look, times } = data.boxes[id];
    if (look !== undefined) equal.set(look, { id: equal.get(look)?.id ?? id, count: (equal.get(look)?.count ?? 0) + (times ?? 1) });
  }
  const looks = [...equal].filter(([, { count }]) => count > 1).sort(([, a], [, b]) => b.count - a.count).slice(0, CLASSES).map(([look]) => look);
  return {
    title: "Structure",
    keys: looks.map((look, k) => [`c${k}`, `${equal.get(look).count} like ${equal.get(look).id}`]),
    of: ({ look }) => (looks.includes(look) ? { style: `c${looks.indexOf(look)}` } : { text: "" }),
  };
}

// Kinds have the colours that boxes are drawn in.
function byKind(parts) {
  const kinds = [...new Set(parts.map(({ style }) => style))].filter((style) => style.startsWith("box-")).sort();
  return { title: "Kind", keys: kinds.map((style) => [style, style.slice(4)]) };
}

function paintBox([box, ...rows], { style, text, share }) {
  if (box.classList.contains("valued")) return;
  for (const group of [box, ...rows]) group.classList.add("valued", style || "unvalued");
  const line = box.querySelector("text.muted");
  const room = box.querySelector("rect[x='0']").getBBox();
  const sign = box.querySelector(".sign") ? 24 : 0;
  if (line && text && chooser.value !== "value") write(line, text, room.width - 18 - sign);
  if (share) box.append(element("rect", { class: "bar", x: 6, y: room.height - 4, height: 2.5, width: (Math.max(0.02, share) * (room.width - 12)).toFixed(1) }));
}

function write(line, text, room) {
  line.removeAttribute("textLength");
  line.replaceChildren(text);
  if (line.getComputedTextLength() > room) line.setAttribute("textLength", room);
}

function swatch(style) {
  if (!style.startsWith("box-")) return Object.assign(make("i"), { className: `swatch ${style}` });
  const sample = element("rect", { class: style, width: 16, height: 12, rx: 2 });
  return element("svg", { width: 16, height: 12 }, sample, element("rect", { class: style.replace("box", "accent"), width: 4, height: 12 }));
}

function explain({ title, keys }, kinds) {
  legend.hidden = false;
  legend.classList.toggle("kinds", kinds);
  legend.replaceChildren(make("b", title), ...keys.map(([style, text]) => make("span", null, swatch(style), text)));
}

const closed = () => shown().filter((part) => part.layer === "boxes" && !isOpen(part.id));

// The legend is of all that is shown, so it changes only with that.
function lookOf(key) {
  if (explained !== shown() || explainedKey !== key) {
    [explained, explainedKey] = [shown(), key];
    const parts = closed();
    const ids = parts.map((part) => part.id);
    look = key === "kind" ? byKind(parts) : key === "structure" ? byStructure(ids) : classes[key] ? byClass(key, ids) : byNumber(key, ids);
    explain(look, key === "kind");
  }
  return look;
}

function colour() {
  const { of } = lookOf(chooser.value);
  if (!of) return;
  for (const { part, made } of alive.values()) {
    const about = part.layer === "boxes" && data.boxes[part.id];
    if (about && !about.stub_of) paintBox(made, of(about));
  }
}

const choices = { kind: "Kind", ...Object.fromEntries(Object.entries(measures).map(([key, { title }]) => [key, title])), ...classes, structure: "Structure" };
const there = { kind: true, structure: Object.values(data.boxes).some(({ look }) => look !== undefined) };
for (const [key, title] of Object.entries(choices)) {
  if (!(there[key] ?? (known(key) || known(`${key}s`)))) continue;
  chooser.append(Object.assign(make("option", `Colour: ${title}`), { value: key, selected: key === "value" }));
}
chooser.addEventListener("change", redraw);
onDraw(colour);
