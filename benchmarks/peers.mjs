// Lay out a graph given on standard input as {boxes: [[width, height]], edges: [[tail, head]]} with dagre or elkjs.
// Run as: node peers.mjs dagre|elk FOLDER, where FOLDER holds node_modules; prints the layout's seconds and its size.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [which, folder] = process.argv.slice(2);
const require = createRequire(folder + "/x.js");
const graph = JSON.parse(readFileSync(0, "utf8"));
let width = 0;
let height = 0;
let start = 0;
if (which === "dagre") {
  const dagre = require("@dagrejs/dagre");
  const found = new dagre.graphlib.Graph({ multigraph: true });
  found.setGraph({ nodesep: 22, ranksep: 24 });
  found.setDefaultEdgeLabel(() => ({}));
  graph.boxes.forEach(([w, h], k) => found.setNode(String(k), { width: w, height: h }));
  graph.edges.forEach(([a, b], k) => found.setEdge(String(a), String(b), {}, String(k)));
  start = performance.now();
  dagre.layout(found);
  ({ width, height } = found.graph());
} else {
  const Elk = require("elkjs");
  const children = graph.boxes.map(([w, h], k) => ({ id: `n${k}`, width: w, height: h }));
  const edges = graph.edges.map(([a, b], k) => ({ id: `e${k}`, sources: [`n${a}`], targets: [`n${b}`] }));
  start = performance.now();
  const layoutOptions = { "elk.algorithm": "layered", "elk.direction": "DOWN" };
  ({ width, height } = await new Elk().layout({ id: "root", layoutOptions, children, edges }));
}
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, width, height }));
