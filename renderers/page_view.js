// The view: where the drawing lies on the stage. One transform; nothing else moves.
export const stage = document.getElementById("stage");
export const drawing = document.getElementById("drawing");
const view = { x: 0, y: 0, k: 1 };
const size = { w: drawing.viewBox.baseVal.width, h: drawing.viewBox.baseVal.height };

const watchers = [];
export const onMove = (watcher) => watchers.push(watcher);

function apply() {
  drawing.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.k})`;
  for (const watcher of watchers) watcher();
}

export const extent = () => [size.w, size.h];

// The part of the drawing that is in view: left, top, width, height.
export function inView() {
  const room = stage.getBoundingClientRect();
  return [-view.x / view.k, -view.y / view.k, room.width / view.k, room.height / view.k];
}

export function resize(width, height) {
  size.w = width;
  size.h = height;
  drawing.setAttribute("width", width);
  drawing.setAttribute("height", height);
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const paper = drawing.querySelector(":scope > rect");
  if (paper) {
    paper.setAttribute("width", width);
    paper.setAttribute("height", height);
  }
}

export const scaleOf = () => view.k;

export function fit() {
  const { left, top, right, bottom } = free();
  const room = { width: right - left, height: bottom - top };
  const whole = Math.min(room.width / size.w, room.height / size.h);
  // A long chain is shown from its beginning, across its width, rather than whole as a sliver.
  const across = Math.max(room.width / size.w, room.height / size.h);
  const k = Math.min(1.25, Math.max(whole, Math.min(across, 0.6)));
  const flow = drawing.dataset.rankdir;
  const spare = [room.width - size.w * k, room.height - size.h * k];
  view.k = k;
  view.x = spare[0] >= 0 || flow === "TB" || flow === "BT" ? spare[0] / 2 : flow === "RL" ? spare[0] : 0;
  view.y = spare[1] >= 0 || flow === "LR" || flow === "RL" ? spare[1] / 2 : flow === "BT" ? spare[1] : 0;
  apply();
}

export function zoom(factor, x, y) {
  const room = stage.getBoundingClientRect();
  const px = x === undefined ? room.width / 2 : x - room.left;
  const py = y === undefined ? room.height / 2 : y - room.top;
  const k = Math.min(8, Math.max(0.02, view.k * factor));
  view.x = px - ((px - view.x) * k) / view.k;
  view.y = py - ((py - view.y) * k) / view.k;
  view.k = k;
  apply();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  apply();
}

// What the panel leaves free of the stage, on the screen: it covers the right of a wide one, the lower part of a narrow one.
export function free() {
  const { left, top, right, bottom } = stage.getBoundingClientRect();
  const panel = document.getElementById("panel");
  if (panel.hidden) return { left, top, right, bottom };
  const cover = panel.getBoundingClientRect();
  return innerWidth > 640 ? { left, top, right: Math.min(right, cover.left), bottom } : { left, top, right, bottom: Math.min(bottom, cover.top) };
}

export function centre(element) {
  if (view.k < 0.5) zoom(0.8 / view.k);
  const { left, top, right, bottom } = free();
  const box = element.getBoundingClientRect();
  // Of a box larger than the view, its beginning is shown.
  const wide = Math.min(box.width, right - left - 24);
  const high = Math.min(box.height, bottom - top - 24);
  pan((left + right - wide) / 2 - box.left, (top + bottom - high) / 2 - box.top);
}

// Bring a box out from under the panel.
export function bringOut(element) {
  const { right, bottom } = free();
  const box = element.getBoundingClientRect();
  if (box.left > right - 24 || box.top > bottom - 24) centre(element);
}

// Where on the drawing a pointer is.
export function placeOn(event) {
  const room = stage.getBoundingClientRect();
  return [(event.clientX - room.left - view.x) / view.k, (event.clientY - room.top - view.y) / view.k];
}

// Bring a point of the drawing into the middle.
export function goTo(x, y) {
  const [left, top, w, h] = inView();
  pan((left + w / 2 - x) * view.k, (top + h / 2 - y) * view.k);
}

// Bring a place of the drawing into the middle; of a long one, its beginning.
export function go({ at, size: [w, h] }) {
  goTo(at[0] + w / 2, at[1] + Math.min(h, inView()[3]) / 2);
}

// Show a place of the drawing as large as the stage allows.
export function fill({ at, size: [w, h] }) {
  const { left, top, right, bottom } = free();
  view.k = Math.min(1.25, (right - left) / (w + 48), (bottom - top) / (h + 48));
  view.x = (right - left) / 2 - (at[0] + w / 2) * view.k;
  view.y = (bottom - top) / 2 - (at[1] + h / 2) * view.k;
  apply();
}

export function reveal(element) {
  const room = stage.getBoundingClientRect();
  const box = element.getBoundingClientRect();
  if (box.left < room.left || box.right > room.right || box.top < room.top || box.bottom > room.bottom) centre(element);
}

// Drag with one pointer, pinch with two. A press that moves less than 4 px is a click.
const pointers = new Map();
let moved = 0;
export function wasDragged() {
  return moved > 4;
}
stage.addEventListener("pointerdown", (event) => {
  if (!pointers.size) moved = 0;
  pointers.set(event.pointerId, event);
});
stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
  if (others.length) {
    const [other] = others;
    const was = Math.hypot(before.clientX - other.clientX, before.clientY - other.clientY);
    const now = Math.hypot(event.clientX - other.clientX, event.clientY - other.clientY);
    if (was > 0) zoom(now / was, (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    moved = 9;
  } else {
    const dx = event.clientX - before.clientX;
    const dy = event.clientY - before.clientY;
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved > 4) {
      if (!stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
      pan(dx, dy);
    }
  }
  pointers.set(event.pointerId, event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => pointers.delete(event.pointerId));
}
stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    zoom(Math.exp(-Math.max(-240, Math.min(240, step)) / 480), event.clientX, event.clientY);
  },
  { passive: false },
);
addEventListener("resize", () => document.activeElement === document.body && fit());
