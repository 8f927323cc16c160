import { stage, onMove, inView, extent, goTo, free, scaleOf } from "./page_view.js";
import { make } from "./page_panel.js";
import { onDraw, outlinesAt, shown, touching } from "./page_sheets.js";
import { element } from "./page_shapes.js";
// The map: the whole picture small, with what is in view as a rectangle. A press or a drag on it moves the view. The rectangle is
// no part of the picture, so that this need not be painted anew whenever it moves.
const map = document.getElementById("map");
const chart = element("svg", { preserveAspectRatio: "none" });
const lens = Object.assign(make("div"), { className: "lens" });
map.append(chart, lens);
const [WIDEST, NARROWEST] = [170, 28];
// Parts that are drawn, or looked at, one by one.
const MUCH = 2000;
let mapped = null;

function mapOut() {
  if (mapped === shown()) return;
  mapped = shown();
  const [w, h] = extent();
  const scale = Math.min(WIDEST / w, WIDEST / h);
  chart.setAttribute("viewBox", `0 0 ${w} ${h}`);
  chart.setAttribute("width", Math.max(NARROWEST, w * scale).toFixed(0));
  chart.setAttribute("height", Math.max(NARROWEST, h * scale).toFixed(0));
  chart.replaceChildren(...outlinesAt(shown().length > MUCH ? scale : 1, [0, 0, w, h]).map((path) => path.cloneNode()));
}

function lensTo() {
  const [x, y, w, h] = inView();
  const [wide, high] = extent();
  map.classList.toggle("needless", x <= 0 && y <= 0 && x + w >= wide && y + h >= high);
  const [left, top, right, bottom] = [Math.max(0, x), Math.max(0, y), Math.min(wide, x + w), Math.min(high, y + h)];
  const share = { left: left / wide, top: top / high, width: Math.max(0, right - left) / wide, height: Math.max(0, bottom - top) / high };
  for (const [key, value] of Object.entries(share)) lens.style[key] = `${(value * 100).toFixed(2)}%`;
}

// The corner where the map covers least: it steps aside when the view has come to rest, and is faint where there is no such place.
const CORNERS = [[false, false], [true, false], [false, true], [true, true]];
const EDGE = 12;
let resting = 0;

function coverAt([right, top]) {
  const [[x, y], k] = [inView(), scaleOf()];
  const [w, h] = [map.offsetWidth, map.offsetHeight];
  if (right && free().right < stage.getBoundingClientRect().right) return Infinity;
  const at = [x + (right ? stage.clientWidth - EDGE - w : EDGE) / k, y + (top ? EDGE : stage.clientHeight - EDGE - h) / k];
  const [wide, high] = [w / k, h / k];
  const below = touching([...at, wide, high], MUCH);
  if (below === null) return Infinity;
  const share = (from, size, start, length) => Math.max(0, Math.min(from + size, start + length) - Math.max(from, start));
  return below.filter((part) => part.layer === "boxes").reduce((sum, one) => sum + share(one.at[0], one.size[0], at[0], wide) * share(one.at[1], one.size[1], at[1], high), 0);
}

function stepAside() {
  if (map.matches(":hover") || !map.offsetWidth) return;
  const covers = CORNERS.map(coverAt);
  const here = CORNERS.findIndex(([right, top]) => map.classList.contains("right") === right && map.classList.contains("top") === top);
  const least = Math.min(...covers);
  const best = covers[here] === least ? here : covers.indexOf(least);
  map.classList.toggle("right", CORNERS[best][0]);
  map.classList.toggle("top", CORNERS[best][1]);
  map.classList.toggle("over", least > 0);
}

function whenAtRest() {
  clearTimeout(resting);
  resting = setTimeout(stepAside, 200);
}

function moveThere(event) {
  if (event.buttons !== 1) return;
  event.preventDefault();
  const room = map.getBoundingClientRect();
  const [w, h] = extent();
  goTo(((event.clientX - room.left) / room.width) * w, ((event.clientY - room.top) / room.height) * h);
}

map.addEventListener("pointerdown", (event) => {
  map.setPointerCapture(event.pointerId);
  moveThere(event);
});
map.addEventListener("pointermove", moveThere);
onDraw(mapOut);
onDraw(lensTo);
onMove(lensTo);
onDraw(whenAtRest);
onMove(whenAtRest);
