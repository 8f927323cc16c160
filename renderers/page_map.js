import { onMove, inView, extent, goTo } from "./page_view.js";
import { onDraw, outlinesOf, shown } from "./page_sheets.js";
import { element } from "./page_shapes.js";
// The map: the whole picture small, with what is in view as a rectangle. A moveThere or a drag on it moves the view.
const map = document.getElementById("map");
const lens = element("rect", { class: "lens", rx: 2 });
const [WIDEST, NARROWEST] = [170, 28];
let mapped = null;

function mapOut() {
  if (mapped === shown()) return;
  mapped = shown();
  const [w, h] = extent();
  const scale = Math.min(WIDEST / w, WIDEST / h);
  map.setAttribute("viewBox", `0 0 ${w} ${h}`);
  map.setAttribute("width", Math.max(NARROWEST, w * scale).toFixed(0));
  map.setAttribute("height", Math.max(NARROWEST, h * scale).toFixed(0));
  map.replaceChildren(...outlinesOf().map((path) => path.cloneNode()), lens);
}

function lensTo() {
  const [x, y, w, h] = inView();
  const [wide, high] = extent();
  map.classList.toggle("needless", x <= 0 && y <= 0 && x + w >= wide && y + h >= high);
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  const sizes = { x: left, y: top, width: Math.max(0, Math.min(wide, x + w) - left), height: Math.max(0, Math.min(high, y + h) - top) };
  for (const [key, value] of Object.entries(sizes)) lens.setAttribute(key, value.toFixed(1));
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
