// Opening a box is a monotone warp of the sheet it lies on, not a new layout: along each axis a point moves to the integral of a
// slope, which is the largest growth of the open boxes that cover it, and 1 elsewhere. What was apart stays apart.
export function axisMap(spans, length) {
  const edges = [...new Set([0, length, ...spans.flatMap(([from, to]) => [from, to])])].sort((a, b) => a - b);
  const place = new Map(edges.map((edge, k) => [edge, k]));
  const slopes = new Array(Math.max(edges.length - 1, 0)).fill(1);
  for (const [from, to, grown] of spans) {
    const slope = grown / Math.max(to - from, 1e-6);
    if (slope <= 1) continue;
    for (let k = place.get(from); k < place.get(to); k++) slopes[k] = Math.max(slopes[k], slope);
  }
  const moved = [edges[0]];
  for (let k = 0; k < slopes.length; k++) moved.push(moved[k] + (edges[k + 1] - edges[k]) * slopes[k]);
  const last = edges.length - 1;
  const at = (value) => {
    if (value <= edges[0]) return moved[0] + value - edges[0];
    if (value >= edges[last]) return moved[last] + value - edges[last];
    let low = 0;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (edges[middle] <= value) low = middle;
      else high = middle;
    }
    return moved[low] + (value - edges[low]) * slopes[low];
  };
  return { at, edges };
}

// Lay out one sheet with some children open. `inner` holds the layout of each open child, or null.
export function warp(sheet, inner) {
  const maps = [0, 1].map((axis) =>
    axisMap(
      inner.flatMap((child, k) => {
        if (!child) return [];
        const box = sheet.boxes[k];
        return [[box.at[axis], box.at[axis] + box.size[axis], child.size[axis]]];
      }),
      sheet.size[axis],
    ),
  );
  const point = (p) => [maps[0].at(p[0]), maps[1].at(p[1])];
  const boxes = sheet.boxes.map((box, k) => {
    const size = inner[k] ? inner[k].size : box.size;
    const low = point(box.at);
    const high = point([box.at[0] + box.size[0], box.at[1] + box.size[1]]);
    // At its own middle, where its wires are, as far as its cell allows.
    const middle = point([box.at[0] + box.size[0] / 2, box.at[1] + box.size[1] / 2]);
    const at = [0, 1].map((axis) => Math.max(low[axis], Math.min(middle[axis] - size[axis] / 2, high[axis] - size[axis])));
    return { at, size, low, high };
  });
  return { size: point(sheet.size), boxes, maps, point, ins: sheet.ins.map(point), outs: sheet.outs.map(point), inner };
}

// The points of one wire after a warp: its polyline with a vertex at every kink of the maps, and at each end a jog, inside the box's own
// cell, to where the box or its port now is.
export function strandPoints(sheet, layout, strand, pair, flow) {
  const along = flow === "TB" || flow === "BT" ? 1 : 0;
  const forward = flow === "TB" || flow === "LR" ? 1 : -1;
  const line = [];
  for (let k = 0; k < strand.points.length; k++) {
    if (k) {
      const [a, b] = [strand.points[k - 1], strand.points[k]];
      const kinks = [];
      for (const axis of [0, 1]) {
        if (Math.abs(b[axis] - a[axis]) < 1e-6 || layout.maps[axis].edges.length < 3) continue;
        for (const edge of layout.maps[axis].edges) {
          const t = (edge - a[axis]) / (b[axis] - a[axis]);
          if (t > 1e-6 && t < 1 - 1e-6) kinks.push(t);
        }
      }
      for (const t of kinks.sort((x, y) => x - y)) line.push(layout.point([a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t]));
    }
    line.push(layout.point(strand.points[k]));
  }
  const start = end(sheet, layout, strand.points[0], strand.source, pair[0], along, forward, true);
  const stop = end(sheet, layout, strand.points[strand.points.length - 1], strand.target, pair[1], along, -forward, false);
  let [from, to] = [0, line.length];
  if (start.length) {
    const edge = start[start.length - 1][along];
    while (from < to && (line[from][along] - edge) * forward <= 0) from++;
  }
  if (stop.length) {
    const edge = stop[stop.length - 1][along];
    while (to > from && (edge - line[to - 1][along]) * forward <= 0) to--;
  }
  const points = [...start, ...line.slice(from, to), ...stop.reverse()];
  return points.filter((p, k) => !k || Math.hypot(p[0] - points[k - 1][0], p[1] - points[k - 1][1]) > 0.05);
}

const JOG = 5;
const TRACK = 3.5;

// From the box outwards: its border, straight through its cell, and across to where the warped line is. Nothing at a border of the sheet.
function end(sheet, layout, original, number, port, along, outward, leaves) {
  if (number < 0) return [];
  const cross = 1 - along;
  const box = layout.boxes[number];
  const closed = sheet.boxes[number];
  const child = layout.inner[number];
  const ports = child ? (leaves ? child.outs : child.ins) : [];
  const own = port >= 0 && ports[port] ? ports[port][cross] : child ? box.size[cross] / 2 : original[cross] - closed.at[cross];
  const across = box.at[cross] + own;
  const border = outward > 0 ? box.at[along] + box.size[along] : box.at[along];
  const cell = outward > 0 ? box.high[along] : box.low[along];
  const wanted = layout.point(original)[cross];
  const make = (a, c) => (along ? [c, a] : [a, c]);
  if (!child && Math.abs(border - cell) < 0.05 && Math.abs(across - wanted) < 0.05) return [make(border, across)];
  // Ports on one side of the closed box's wire: the farthest turns first, so that the ways do not cross.
  const side = Math.sign(across - wanted);
  const rivals = ports.filter((p) => Math.sign(box.at[cross] + p[cross] - wanted) === side && Math.abs(box.at[cross] + p[cross] - wanted) < Math.abs(across - wanted));
  const jog = cell + (JOG + TRACK * Math.min(rivals.length, 4)) * outward;
  return [make(border, across), make(jog, across), make(jog, wanted)];
}
