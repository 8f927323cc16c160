import { data } from "./page_panel.js";
import { isOpen, shown, shownAs } from "./page_sheets.js";
// What leads to a box, what it leads to, and what lies between two boxes, along the wires that are drawn.
const ownerOf = (place) => place.split("\0", 1)[0];

// Wires from place to place: a closed box, or a joint in an open group's border. A stub goes on where it stands for.
function joined() {
  return shown().flatMap((part) => {
    const source = part.layer === "boxes" && data.boxes[part.id].stub_of;
    return part.layer === "wires" ? [part] : source ? [{ key: "", tail: shownAs(source), head: part.id }] : [];
  });
}

function reach(wires, id, from, to) {
  const next = new Map();
  const places = new Set([id]);
  for (const wire of wires) {
    if (!next.has(wire[from])) next.set(wire[from], []);
    next.get(wire[from]).push(wire);
    for (const place of [wire.tail, wire.head]) if (ownerOf(place) === id) places.add(place);
  }
  const keys = new Set();
  const waiting = [...places];
  while (waiting.length) {
    for (const wire of next.get(waiting.pop()) || []) {
      keys.add(wire.key);
      if (places.has(wire[to])) continue;
      places.add(wire[to]);
      waiting.push(wire[to]);
    }
  }
  return { places, keys };
}

const both = (one, two) => new Set([...one].filter((item) => two.has(item)));

function between(wires, first, last) {
  const after = reach(wires, first, "tail", "head");
  const before = reach(wires, last, "head", "tail");
  return { places: both(after.places, before.places), keys: both(after.keys, before.keys) };
}

const ways = {
  inputs: (wires, id) => reach(wires, id, "head", "tail"),
  outputs: (wires, id) => reach(wires, id, "tail", "head"),
  paths(wires, id, other) {
    const found = between(wires, id, other);
    return found.keys.size ? found : between(wires, other, id);
  },
};

// The drawn boxes and the keys of the wires of a trace, as { way, id, other } names it, and how many boxes but its ends.
export function trace({ way, id, other }) {
  const { places, keys } = ways[way](joined(), shownAs(id), other && shownAs(other));
  const boxes = new Set([...places].map(ownerOf));
  // Both ends stay visible where nothing lies between them.
  const ends = [id, other].filter(Boolean).map(shownAs);
  for (const end of ends) boxes.add(end);
  return { boxes, keys, count: [...boxes].filter((box) => !isOpen(box) && !ends.includes(box)).length };
}
