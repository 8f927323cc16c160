import { onMove, inView, extent, goTo } from "./page_view.js";
import { make } from "./page_panel.js";
import { onDraw, outlinesAt, shown } from "./page_sheets.js";
import { element } from "./page_shapes.js";
// The map: the whole picture small, with what is in view as a rectangle. A press or a drag on it moves the view. The rectangle is
// no part of the picture, so that this need not be painted anew whenever it moves.
const map = document.getElementById("map");
const chart = element("svg", { preserveAspectRatio: "none" });
const lens = Object.assign(make("div"), { className: "lens" });
map.append(chart, lens);
const [WIDEST, NARROWEST] = [170, 28];
let mapped = null;

function mapOut() {
  if (mapped === shown()) return;
  mapped = shown();
  const [w, h] = extent();
  const scale = Math.min(WIDEST / w, WIDEST / h);
  chart.setAttribute("viewBox", `0 0 ${w} ${h}`);
  chart.setAttribute("width", Math.max(NARROWEST, w * scale).toFixed(0));
  chart.setAttribute("height", Math.max(NARROWEST, h * scale).toFixed(0));
  chart.replaceChildren(...outlinesAt(scale, [0, 0, w, h]).map((path) => path.cloneNode()));
}

function lensTo() {
  const [x, y, w, h] = inView();
  const [wide, high] = extent();
  map.classList.toggle("needless", x <= 0 && y <= 0 && x + w >= wide && y + h >= high);
  const [left, top, right, bottom] = [Math.max(0, x), Math.max(0, y), Math.min(wide, x + w), Math.min(high, y + h)];
  const share = { left: left / wide, top: top / high, width: Math.max(0, right - left) / wide, height: Math.max(0, bottom - top) / high };
  for (const [key, value] of Object.entries(share)) lens.style[key] = `${(value * 100).toFixed(2)}%`;
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
