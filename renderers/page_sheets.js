import { element, shapeOf, rounded } from "./page_shapes.js";
import { warp, strandPoints } from "./page_warp.js";
import { data } from "./page_panel.js";
import { drawing, resize, onMove, inView, extent, scaleOf } from "./page_view.js";
// What is drawn: sheets inside sheets, one for each open group. Only what is in view becomes elements.
const MARGIN = 16;
// Parts that are elements at one time, some four each: so few are elements wherever they are; around the view there is room for
// more, and in it for most where its text can be read.
const [FEW, MORE, MOST] = [300, 600, 800];
const READABLE = 0.4;
// What is in view is looked for among the parts that touch its squares; what touches too many of these is looked at always.
const SQUARE = 1000;
const WIDE = 64;
// The side of a sheet of outlines, and the scale below which boxes are a few pixels and their group's frame stands for them.
const TILE = 8000;
const TINY = 0.075;
export const sheets = new Map();
const parents = new Map();
const rowOf = new Map();
const open = new Set(data.open);
let layouts = new Map();
let drawn = [];
let places = new Map();
// What is in the document now: by key, the part and its elements.
export const alive = new Map();
const listeners = [];
const layers = {};
let outlines = new Map();
let squares = new Map();
let wide = [];
let frames = [];
let covered = null;
let wanting = false;
const titles = new WeakMap();

const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, k) => [flat[2 * k], flat[2 * k + 1]]);

// Put all sheets together as they lie in a direction.
function lay(rankdir) {
  drawing.dataset.rankdir = rankdir;
  for (const [id, given] of Object.entries(data.sheets)) {
    const [size, places, lines, labels, ins, outs, title] = given.lays[data.rankdirs.indexOf(rankdir)];
    const at = pairs(places);
    const boxes = given.boxes.map(([name, kind, w, h, label, shapes, rows], k) => {
      parents.set(name, id);
      for (const [row] of rows) {
        parents.set(row, id);
        rowOf.set(row, name);
      }
      return { name, kind, at: at[k], size: [w, h], label, shapes, rows };
    });
    const strands = given.strands.map(([source, target, ports, label, width, dashed, values], k) => {
      return { source, target, ports, points: pairs(lines[k]), label, spot: labels[k], width, dashed, values };
    });
    sheets.set(id, { size, boxes, strands, ins: pairs(ins), outs: pairs(outs), frame: given.title, title });
  }
}
export const canOpen = (id) => id !== "" && sheets.has(id);
export const isOpen = (id) => open.has(id);
export const onDraw = (listener) => listeners.push(listener);
export const shown = () => drawn;
export const spot = (id) => places.get(id);

// The box at a point of the drawing.
export function boxAt(x, y) {
  const holds = ({ layer, at, size }) => layer === "boxes" && x >= at[0] && y >= at[1] && x <= at[0] + size[0] && y <= at[1] + size[1];
  return drawn.find(holds)?.id ?? null;
}

// The groups around a box, outermost first.
export function around(id) {
  const found = [];
  for (let here = parents.get(id); here; here = parents.get(here)) found.unshift(here);
  return found;
}

// What stands for a box in the drawing: its outermost closed group, else the box that it is a row of, else itself.
export const shownAs = (id) => around(id).find((group) => !open.has(group)) ?? rowOf.get(id) ?? id;

function layoutOf(id) {
  const known = layouts.get(id);
  if (known) return known;
  const sheet = sheets.get(id);
  const found = warp(sheet, sheet.boxes.map((box) => (open.has(box.name) && sheets.has(box.name) ? layoutOf(box.name) : null)));
  layouts.set(id, found);
  return found;
}

// Everything that is shown, with where it is; elements are made when they come into view.
function arrange() {
  layouts = new Map();
  outlines = new Map();
  drawn = [];
  places = new Map();
  const waiting = [["", MARGIN, MARGIN]];
  while (waiting.length) {
    const [id, x, y] = waiting.pop();
    const sheet = sheets.get(id);
    const layout = layoutOf(id);
    if (id !== "") drawn.push({ layer: "frames", key: `frame ${id}`, id, style: "group", at: [x, y], size: layout.size, make: () => frame(id, sheet, layout, x, y) });
    sheet.boxes.forEach((box, k) => {
      const { at, size } = layout.boxes[k];
      const place = [x + at[0], y + at[1]];
      places.set(box.name, { at: place, size });
      for (const [row] of box.rows) places.set(row, { at: place, size });
      if (layout.inner[k]) waiting.push([box.name, ...place]);
      else drawn.push({ layer: "boxes", key: `box ${box.name}`, id: box.name, group: id, style: box.shapes[0][1], at: place, size, make: () => boxOf(box, place, id) });
    });
    sheet.strands.forEach((strand, number) => {
      // Only at an open group do the wires of a strand part.
      const parted = layout.inner[strand.source] || layout.inner[strand.target];
      strand.ports.slice(0, parted ? undefined : 1).forEach((pair, k) => {
        const points = strandPoints(sheet, layout, strand, pair, drawing.dataset.rankdir).map(([a, b]) => [a + x, b + y]);
        const xs = points.map((p) => p[0]);
        const ys = points.map((p) => p[1]);
        const low = [Math.min(...xs), Math.min(...ys)];
        const size = [Math.max(...xs) - low[0], Math.max(...ys) - low[1]];
        const arrives = strand.target >= 0 && !(layout.inner[strand.target] && pair[1] >= 0);
        const [from, to] = [name(sheet, strand.source, id), name(sheet, strand.target, id)];
        const tail = strand.source < 0 || layout.inner[strand.source] ? joint(from, strand.source < 0, pair[0]) : from;
        const head = strand.target < 0 || layout.inner[strand.target] ? joint(to, strand.target >= 0, pair[1]) : to;
        const make = () => wire(strand, points, arrives, from, to);
        drawn.push({ layer: "wires", key: `wire ${id} ${number} ${k}`, group: id, from, to, tail, head, points, at: low, size, make });
        if (!k && strand.label) {
          const wide = strand.label[5];
          const [left, top] = strand.spot;
          const near = nearest(strand.points, [left, top - 4]);
          const spot = layout.point(near);
          const place = [x + spot[0] + left - near[0], y + spot[1] + top - near[1]];
          const room = { at: [place[0] - wide / 2 - 2, place[1] - 10], size: [wide + 4, 13] };
          drawn.push({ layer: "labels", key: `label ${id} ${number}`, wire: `wire ${id} ${number} 0`, ...room, make: () => label(strand, place, id) });
        }
      });
    });
  }
  const whole = layoutOf("").size;
  resize(whole[0] + 2 * MARGIN, whole[1] + 2 * MARGIN);
  shelve();
}

const squareOf = (place) => Math.floor(place / SQUARE);
const squaresOf = ({ at: [x, y], size: [w, h] }) => [squareOf(x), squareOf(y), squareOf(x + w), squareOf(y + h)];

// Put each part into the squares that it touches.
function shelve() {
  [squares, wide, covered] = [new Map(), [], null];
  frames = drawn.filter((part) => part.layer === "frames");
  for (const part of drawn) {
    const [left, top, right, bottom] = squaresOf(part);
    if ((right - left + 1) * (bottom - top + 1) > WIDE) wide.push(part);
    else eachSquare([left, top, right, bottom], (key) => (squares.get(key) ?? squares.set(key, []).get(key)).push(part));
  }
}

function eachSquare([left, top, right, bottom], act) {
  for (let x = left; x <= right; x++) for (let y = top; y <= bottom; y++) if (act(`${x} ${y}`, x, y) === false) return;
}

const touches = ([x, y, w, h]) => ({ at, size }) => at[0] <= x + w && at[1] <= y + h && at[0] + size[0] >= x && at[1] + size[1] >= y;

// The parts that a room touches, null where they are more than `most`.
export function touching(room, most) {
  const [[x, y, w, h], inside] = [room, touches(room)];
  const found = wide.filter(inside);
  const [left, top, ...ends] = squaresOf({ at: [Math.max(0, x), Math.max(0, y)], size: [w + Math.min(0, x), h + Math.min(0, y)] });
  const [right, bottom] = [Math.min(ends[0], squareOf(extent()[0])), Math.min(ends[1], squareOf(extent()[1]))];
  eachSquare([left, top, right, bottom], (key, across, down) => {
    for (const part of squares.get(key) ?? []) {
      // Of the squares that a part touches, the first in the room counts.
      const [first, upper] = squaresOf(part);
      if (across === Math.max(first, left) && down === Math.max(upper, top) && inside(part)) found.push(part);
    }
    return found.length <= most;
  });
  return found.length <= most ? found : null;
}

// The point of a polyline that is nearest to another: a text keeps its distance to its wire.
function nearest(points, [x, y]) {
  let best = points[0];
  let least = Infinity;
  for (let k = 1; k < points.length; k++) {
    const [a, b] = [points[k - 1], points[k]];
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const t = Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy || 1)));
    const p = [a[0] + dx * t, a[1] + dy * t];
    const far = Math.hypot(p[0] - x, p[1] - y);
    if (far < least) [best, least] = [p, far];
  }
  return best;
}

// Where a wire passes the border of an open group; the wire on the other side has the same.
const joint = (id, enters, port) => `${id}\0${enters ? "in" : "out"}\0${port}`;
const name = (sheet, number, id) => (number < 0 ? id : sheet.boxes[number].name);

function place(group, x, y) {
  group.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
  return group;
}

function hooks(id, kind, parent, spoken) {
  const found = { class: "box", "data-id": id, "data-kind": kind, "aria-label": spoken, tabindex: "-1" };
  if (parent) found["data-parent"] = parent;
  if (canOpen(id)) Object.assign(found, { role: "button", "aria-expanded": String(open.has(id)) });
  return found;
}

// The sign that opens and closes a box.
function sign(x, y, opened) {
  const d = opened ? "M-4 0H4" : "M-4 0H4M0-4V4";
  return element("g", { class: "sign", transform: `translate(${x} ${y})` }, element("rect", { x: -8, y: -8, width: 16, height: 16, rx: 4 }), element("path", { d }));
}

function frame(id, sheet, layout, x, y) {
  const box = sheets.get(parents.get(id)).boxes.find((other) => other.name === id);
  const group = place(element("g", hooks(id, box.kind, parents.get(id), box.label)), x, y);
  const [rect, title] = sheet.frame.map((about) => shapeOf(about));
  rect.setAttribute("width", layout.size[0].toFixed(1));
  rect.setAttribute("height", layout.size[1].toFixed(1));
  const left = layout.point([sheet.title, 0])[0];
  title.setAttribute("x", left.toFixed(1));
  group.append(rect, title, sign(left + sheet.frame[1][5] + 15, 14, true));
  return [group];
}

function boxOf(box, at, parent) {
  const group = place(element("g", hooks(box.name, box.kind, parent, box.label)), ...at);
  group.append(...box.shapes.map((about) => shapeOf(about)));
  if (canOpen(box.name)) group.append(sign(box.size[0] - (box.kind === "fold" ? 22 : 18), (box.size[1] - 4) / 2, false));
  const rows = box.rows.map(([id, down, spoken, shapes]) => {
    const row = element("g", { class: "row", "data-id": id, "data-row-of": box.name, "aria-label": spoken, tabindex: "-1" });
    row.append(...shapes.map((about) => shapeOf(about)));
    return place(row, at[0], at[1] + down);
  });
  return [group, ...rows];
}

function wire(strand, points, arrives, source, target) {
  const group = element("g", { class: "wire", "data-from": source, "data-to": target });
  titles.set(group, strand.values);
  if (wanting) tellValues(group);
  const path = element("path", { class: "wire", fill: "none", "stroke-width": strand.width });
  if (strand.dashed) path.setAttribute("stroke-dasharray", "4 3");
  group.append(path);
  if (arrives && points.length > 1) {
    const size = 7 + 1.6 * (strand.width - 1.25);
    const tip = points[points.length - 1];
    const before = points[points.length - 2];
    const length = Math.hypot(tip[0] - before[0], tip[1] - before[1]) || 1;
    const [ux, uy] = [(tip[0] - before[0]) / length, (tip[1] - before[1]) / length];
    const [bx, by] = [tip[0] - ux * size, tip[1] - uy * size];
    const half = size * 0.42;
    const corners = [tip, [bx - uy * half, by + ux * half], [bx + uy * half, by - ux * half]];
    group.append(element("polygon", { class: "arrow", points: corners.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ") }));
    points = [...points.slice(0, -1), [tip[0] - ux * Math.min(size * 0.6, length), tip[1] - uy * Math.min(size * 0.6, length)]];
  }
  path.setAttribute("d", rounded(points, 6));
  return [group];
}

// What a wire carries is written where a pointer comes to it, and where all is saved.
function tellValues(group) {
  if (titles.get(group) && group.firstChild?.tagName !== "title") group.prepend(element("title", {}, titles.get(group)));
}
drawing.addEventListener("pointerover", (event) => {
  const group = event.target.closest("g.wire");
  if (titles.has(group)) tellValues(group);
});

function label(strand, at, id) {
  const wide = strand.label[5];
  const halo = element("rect", { class: id ? "halo-group" : "halo", x: -wide / 2 - 2, y: -10, width: wide + 4, height: 13, rx: 3 });
  const text = shapeOf(["t", strand.label[1], 0, 0, ...strand.label.slice(4)]);
  return [place(element("g", { class: "label" }, halo, text), ...at)];
}

// What is in view without the labels of wires, which are the smallest text; null where that is too much, too.
function unlabelled(room) {
  const found = touching(room, 2 * MOST)?.filter((part) => part.layer !== "labels");
  return found && found.length <= MOST ? found : null;
}

// The parts to make: all if they are few, else those in view and half a screen around it, or in view alone. Where even these are
// too many, boxes are some pixels large: the frames of groups, and the outlines of all else.
function worthMaking() {
  const readable = scaleOf() >= READABLE;
  const [x, y, w, h] = inView();
  const around = [x - w / 2, y - h / 2, 2 * w, 2 * h];
  const all = wanting || drawn.length <= FEW;
  const near = all ? drawn : touching(around, MORE);
  covered = near && { room: around, all, scale: scaleOf() };
  const found = near ?? touching([x, y, w, h], readable ? MOST : MORE) ?? (readable ? unlabelled([x, y, w, h]) : null);
  const far = found ? [] : outlinesAt(scaleOf(), [x, y, w, h]);
  const same = far.length === layers.outlines.childNodes.length && far.every((path, k) => path === layers.outlines.childNodes[k]);
  if (!same) layers.outlines.replaceChildren(...far);
  return found ?? frames.filter(touches([x, y, w, h])).slice(0, MORE);
}

// Whether what is in view is made already, so that nothing is to do.
function isCovered() {
  if (!covered || covered.all) return covered !== null;
  const [[x, y, w, h], [left, top, wide, high]] = [inView(), covered.room];
  return covered.scale === scaleOf() && x >= left && y >= top && x + w <= left + wide && y + h <= top + high;
}

// What a room shows from afar, as few paths: thousands of boxes are a dozen elements.
export function outlinesAt(scale, room) {
  if (scale < TINY) return cached("tiny", () => pathsOf(tiny()));
  const tiles = cached("tiles", tiled);
  return [...tiles.values()].filter(({ at, size }) => touches(room)({ at, size })).flatMap((tile) => cached(tile, () => pathsOf(tile.parts)));
}

const cached = (key, make) => outlines.get(key) ?? outlines.set(key, make()).get(key);

// Parts by the tile that they begin in, each tile with the room that they take.
function tiled() {
  const tiles = new Map();
  for (const part of drawn) {
    if (part.layer === "labels") continue;
    const [[x, y], [w, h]] = [part.at, part.size];
    const key = `${Math.floor(x / TILE)} ${Math.floor(y / TILE)}`;
    const tile = tiles.get(key) ?? tiles.set(key, { at: [x, y], end: [x + w, y + h], parts: [] }).get(key);
    tile.parts.push(part);
    tile.at = [Math.min(tile.at[0], x), Math.min(tile.at[1], y)];
    tile.end = [Math.max(tile.end[0], x + w), Math.max(tile.end[1], y + h)];
    tile.size = [tile.end[0] - tile.at[0], tile.end[1] - tile.at[1]];
  }
  return tiles;
}

// Frames in the colour of most of what they hold, and what is in no frame.
function tiny() {
  const counts = new Map();
  for (const { layer, group, style } of drawn) {
    if (layer !== "boxes") continue;
    const held = counts.get(group) ?? counts.set(group, new Map()).get(group);
    held.set(style, (held.get(style) ?? 0) + 1);
  }
  const most = (held) => (held ? [...held].reduce((best, one) => (one[1] > best[1] ? one : best))[0] : "group");
  return drawn.filter((part) => part.layer === "frames" || part.group === "").map((part) => (part.layer === "frames" ? { ...part, style: `${most(counts.get(part.id))} deep` } : part));
}

function pathsOf(parts) {
  const paths = new Map([["group", ""], ["wire", ""]]);
  for (const { style, at, size, points } of parts) {
    const kind = points ? "wire" : style.replace("box-", "accent-");
    const [x, y, w, h] = [...at, ...size].map(Math.round);
    const line = points ? `M${points.map((p) => p.map(Math.round)).join("L")}` : `M${x} ${y}h${w}v${h}h${-w}z`;
    paths.set(kind, (paths.get(kind) ?? "") + line);
  }
  return [...paths].filter(([, d]) => d).map(([kind, d]) => element("path", { class: kind, d }));
}

// Make what has come into view, drop what has left it.
function paint() {
  const wanted = new Set();
  const fresh = { frames: [], wires: [], boxes: [], labels: [] };
  for (const part of worthMaking()) {
    wanted.add(part.key);
    if (alive.has(part.key)) continue;
    const made = part.make();
    alive.set(part.key, { part, made });
    fresh[part.layer].push(...made);
  }
  for (const [key, { made }] of alive) {
    if (wanted.has(key)) continue;
    for (const item of made) item.remove();
    alive.delete(key);
  }
  for (const [layer, made] of Object.entries(fresh)) layers[layer].append(...made);
  if (Object.values(fresh).some((made) => made.length)) for (const listener of listeners) listener();
}

// Make everything an element, to save or print it, or go back to what is in view.
export function makeAll(all) {
  wanting = all;
  if (all) for (const { made } of alive.values()) tellValues(made[0]);
  paint();
}
addEventListener("beforeprint", () => makeAll(true));
addEventListener("afterprint", () => makeAll(false));

export function turn(rankdir) {
  lay(rankdir);
  redraw();
}

export function redraw() {
  arrange();
  for (const { made } of alive.values()) for (const item of made) item.remove();
  alive.clear();
  paint();
}

// Open or close groups; returns how far the box at hand has moved on the drawing.
export function change(ids, opened, at) {
  const before = places.get(at);
  for (const id of ids) if (canOpen(id)) opened ? open.add(id) : open.delete(id);
  redraw();
  const after = places.get(at);
  return before && after ? [after.at[0] - before.at[0], after.at[1] - before.at[1]] : [0, 0];
}

// Open everything around a box, so that it is drawn.
export function uncover(id) {
  const closed = around(id).filter((group) => !open.has(group));
  if (closed.length) change(closed, true);
}

// The groups of the outermost closed level, or of the innermost open one.
export function level(deeper) {
  const found = [...sheets.keys()].filter((id) => id !== "" && shownAs(id) === id && open.has(id) !== deeper);
  const depths = found.map((id) => around(id).length);
  const edge = deeper ? Math.min(...depths) : Math.max(...depths);
  return found.filter((_, k) => depths[k] === edge);
}

for (const group of [...drawing.querySelectorAll(":scope > g")]) group.remove();
// The page's still picture is one image; what is drawn here are boxes that can be entered one by one.
drawing.setAttribute("role", "group");
for (const layer of ["frames", "outlines", "wires", "boxes", "labels"]) drawing.append((layers[layer] = element("g", { class: layer })));
lay(data.rankdirs[0]);
arrange();
onMove(() => isCovered() || paint());
export const start = paint;
