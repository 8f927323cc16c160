// Shapes as SVG elements. Text from the model becomes text nodes and attribute values, never markup.
const SPACE = "http://www.w3.org/2000/svg";

export function element(name, attributes, ...children) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function shapeOf(about) {
  const [kind, style, x, y, ...rest] = about;
  if (kind === "r") {
    const [width, height, rx] = rest;
    const made = element("rect", { class: style, x, y, width, height, rx });
    if (style === "stub") made.setAttribute("stroke-dasharray", "3 2");
    return made;
  }
  const [size, width, bold, anchor, text, whole] = rest;
  const made = element("text", { class: style, x, y, "font-size": size, "text-anchor": anchor }, text);
  if (bold) made.setAttribute("font-weight", "bold");
  if (text) {
    made.setAttribute("textLength", width);
    made.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
  if (whole) made.prepend(element("title", {}, whole));
  return made;
}

// A polyline with rounded corners, as path data.
export function rounded(points, radius) {
  const parts = [`M${points[0][0].toFixed(1)} ${points[0][1].toFixed(1)}`];
  for (let k = 1; k < points.length; k++) {
    const [x, y] = points[k];
    if (k === points.length - 1) {
      parts.push(`L${x.toFixed(1)} ${y.toFixed(1)}`);
      break;
    }
    const before = points[k - 1];
    const after = points[k + 1];
    const came = Math.hypot(x - before[0], y - before[1]) || 1;
    const goes = Math.hypot(after[0] - x, after[1] - y) || 1;
    const r = Math.min(radius, came / 2, goes / 2);
    const a = [x + ((before[0] - x) * r) / came, y + ((before[1] - y) * r) / came];
    const b = [x + ((after[0] - x) * r) / goes, y + ((after[1] - y) * r) / goes];
    parts.push(`L${a[0].toFixed(1)} ${a[1].toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${b[0].toFixed(1)} ${b[1].toFixed(1)}`);
  }
  return parts.join("");
}
