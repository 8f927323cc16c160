import { data, make, shape } from "./page_panel.js";
import { element } from "./page_shapes.js";
// What the numbers of a box's weights are like: figures, a histogram, and the filters of a first convolution as tiles.
const [BAR, TALL] = [9, 34];
const HEIGHTS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const WHOLE = 300;
const percent = (share) => (share > 0 && share < 0.0005 ? "under 0.1 %" : `${Number((share * 100).toFixed(1))} %`);
const signed = (text) => text.replace("-", "\u2212");

function pair(name, text) {
  return make("span", null, Object.assign(make("span", `${name} `), { className: "exact" }), signed(text));
}

function histogram(bars, low, high) {
  const heights = [...bars].map((bar) => (HEIGHTS.indexOf(bar) / 63) * TALL);
  const d = heights.map((high, k) => (high ? `M${k * BAR} ${TALL}v${-high.toFixed(1)}h${BAR - 1}v${high.toFixed(1)}z` : "")).join("");
  const zero = (-low / (high - low)) * bars.length * BAR;
  const found = element("svg", { class: "histogram", viewBox: `0 0 ${bars.length * BAR - 1} ${TALL + 1}`, role: "img", preserveAspectRatio: "none" });
  const top = Math.max(...heights);
  const peak = low + ((heights.indexOf(top) + 0.5) / bars.length) * (high - low);
  found.setAttribute("aria-label", `Histogram from ${low} to ${high}, most numbers near ${Number(peak.toPrecision(2))}`);
  found.append(element("path", { d }));
  if (low < 0 && high > 0) found.append(element("path", { class: "zero", d: `M${zero.toFixed(1)} 0V${TALL + 1}` }));
  return found;
}

function tiles([source, width, height, shown, filters], channels) {
  // Whole screen pixels for each of the filter's, as many as there is room for.
  const scale = Math.max(1, Math.floor(WHOLE / width));
  const colour = channels === 1 ? "grey" : "colour";
  const image = Object.assign(make("img"), { src: source, width: width * scale, height: height * scale, className: "tiles" });
  image.alt = `${shown} filters as ${colour} tiles`;
  const words = shown < filters ? `The first ${shown} of ${filters} filters` : `The ${filters} filters`;
  return make("figure", null, image, make("figcaption", `${words}; black is the layer\u2019s least weight, white its greatest`));
}

function about([name, dtype, dims, figures, bars, image]) {
  const found = make("div", null, make("b", name), Object.assign(make("div", `${shape(dims)} ${dtype}`), { className: "exact" }));
  found.className = "weight";
  if (typeof figures === "string") {
    if (figures) found.append(make("div", figures));
    return found;
  }
  const [low, high, mean, std, zeros, odd] = figures;
  if (low === high) found.append(make("div", null, pair("all", low)));
  else {
    if (bars) found.append(histogram(bars, Number(low), Number(high)));
    found.append(Object.assign(make("div", null, pair("min", low), pair("max", high)), { className: "ends" }));
    const line = make("div", null, pair("mean", mean), pair("std", std), pair("zeros", percent(Number(zeros))));
    found.append(Object.assign(line, { className: "ends" }));
  }
  if (odd) found.append(make("div", `${Number(odd).toLocaleString("en")} not finite, left out`));
  if (image) found.append(tiles(image, dims[1]));
  return found;
}

// The weights of a box, null where it has none that are known.
export function weightsOf(id) {
  const numbers = data.weights && Object.hasOwn(data.weights.of, id) ? data.weights.of[id] : [];
  return numbers.length ? make("div", null, ...numbers.map((k) => about(data.weights.list[k]))) : null;
}
