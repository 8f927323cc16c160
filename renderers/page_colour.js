import { data, make, short, bytes } from "./page_panel.js";
import { element } from "./page_shapes.js";
import { alive, isOpen, onDraw, redraw, shown } from "./page_sheets.js";
// Colours that show a number or a data type in place of the kind. The number also stands in the box, and a bar shows its share.
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

function byType(ids) {
  const types = [...new Set(ids.map((id) => data.boxes[id].dtype).filter(Boolean))].sort();
  const style = (type) => `c${types.indexOf(type) % CLASSES}`;
  return {
    title: "Data type",
    keys: types.map((type) => [style(type), type]),
    of: ({ dtype }) => (dtype ? { style: style(dtype), text: dtype } : { text: "" }),
  };
}

function paintBox([box, ...rows], { style, text, share }) {
  if (box.classList.contains("valued")) return;
  for (const group of [box, ...rows]) group.classList.add("valued", style || "unvalued");
  const line = box.querySelector("text.muted");
  const room = box.querySelector("rect[x='0']").getBBox();
  if (line && text && chooser.value !== "value") write(line, text, room.width - 18);
  if (share) box.append(element("rect", { class: "bar", x: 6, y: room.height - 4, height: 2.5, width: (Math.max(0.02, share) * (room.width - 12)).toFixed(1) }));
}

function write(line, text, room) {
  line.removeAttribute("textLength");
  line.replaceChildren(text);
  if (line.getComputedTextLength() > room) line.setAttribute("textLength", room);
}

function explain() {
  legend.hidden = look === null;
  if (look === null) return;
  const keys = look.keys.map(([style, text]) => make("span", null, Object.assign(make("i"), { className: `swatch ${style}` }), text));
  legend.replaceChildren(make("b", look.title), ...keys);
}

function colour() {
  const key = chooser.value;
  const ids = () => shown().filter((part) => part.layer === "boxes" && !isOpen(part.id)).map((part) => part.id);
  look = key === "kind" ? null : key === "dtype" ? byType(ids()) : byNumber(key, ids());
  explain();
  if (look === null) return;
  for (const { part, made } of alive.values()) {
    const about = part.layer === "boxes" && data.boxes[part.id];
    if (about && !about.stub_of) paintBox(made, look.of(about));
  }
}

for (const [key, title] of [["kind", "Kind"], ...Object.entries(measures).map(([key, { title }]) => [key, title]), ["dtype", "Data type"]]) {
  if (key !== "kind" && !known(key)) continue;
  chooser.append(Object.assign(make("option", `Colour: ${title}`), { value: key, selected: key === "value" }));
}
chooser.addEventListener("change", redraw);
onDraw(colour);
