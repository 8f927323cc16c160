import { data, shape } from "./page_panel.js";
// Search: plain text, or a regular expression between slashes, in names, types, settings and shapes.
const LONGEST = 2000;
const texts = new Map();

function* leaves(key, item) {
  if (typeof item !== "object" || item === null) yield `${key}: ${item}`;
  else if (Array.isArray(item) && item.every((part) => typeof part !== "object")) yield `${key}: ${item.join(", ")}`;
  else for (const [inner, part] of Object.entries(item)) yield* leaves(Array.isArray(item) ? key : inner, part);
}

function textsOf(id) {
  if (!texts.has(id)) {
    const about = data.boxes[id];
    const shapes = [...(about.inputs || []), ...(about.outputs || [])].map(([, dims]) => shape(dims));
    const parts = [id, about.name, about.type, about.dtype, ...(about.members || []), ...(about.folded || []), ...leaves("", about.attributes || {})];
    const all = [...parts, ...shapes, ...shapes.map((text) => text.replaceAll("×", "x"))];
    texts.set(id, [...new Set(all.filter(Boolean).map((text) => String(text).slice(0, LONGEST)))]);
  }
  return texts.get(id);
}

// What a query asks of a text; null where it is no regular expression.
function asks(query) {
  const regular = /^\/(.+)\/([a-z]*)$/s.exec(query);
  if (!regular) {
    const wanted = query.toLowerCase();
    return (text) => text.toLowerCase().includes(wanted);
  }
  try {
    const pattern = new RegExp(regular[1], (regular[2] || "i").replace(/[gy]/g, ""));
    return (text) => pattern.test(text);
  } catch {
    return null;
  }
}

// The ids of all boxes that a query finds, in the order of the data; null where it cannot be read.
export function find(query) {
  const wanted = asks(query);
  return wanted && Object.keys(data.boxes).filter((id) => textsOf(id).some(wanted));
}
