// What is known of a box, as a card near the pointer and as a panel. Text from the model is text, never markup.
// A net that has several phases has the data of each; the address says which is shown.
const phases = [...document.querySelectorAll("[data-phase]")];
const asked = new URLSearchParams(location.search).get("phase");
const given = phases.find((one) => one.dataset.phase === asked) ?? document.getElementById("data");
export const phase = given.dataset.phase;
export const data = JSON.parse(given.textContent);

export function make(name, text, ...children) {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

export function button(text, about, act, label) {
  const made = Object.assign(make("button", text), { type: "button", ...about });
  if (label) made.setAttribute("aria-label", label);
  if (act) made.addEventListener("click", act);
  return made;
}

export function short(number) {
  if (number === null || number === undefined) return "unknown";
  let size = number;
  for (const suffix of ["", " k", " M", " G", " T"]) {
    if (Math.abs(size) < 999.5 || suffix === " T") {
      return size.toFixed(!suffix || size >= 100 ? 0 : size >= 10 ? 1 : 2) + suffix;
    }
    size /= 1000;
  }
  return String(number);
}

export const bytes = (number) => (number === null ? "unknown" : `${short(number)}${Math.abs(number) < 999.5 ? " B" : "B"}`);

export function shape(dims) {
  if (!dims) return "unknown shape";
  return dims.length ? dims.map((dim) => (dim === null ? "?" : dim)).join("×") : "scalar";
}

function value(item) {
  if (Array.isArray(item) && item.every((part) => typeof part !== "object")) return item.join(", ");
  return typeof item === "object" && item !== null ? null : String(item);
}

function tree(attributes, plain) {
  const list = make("ul");
  if (plain) list.className = "plain";
  for (const [key, item] of Object.entries(attributes)) {
    for (const part of Array.isArray(item) && value(item) === null ? item : [item]) {
      const text = value(part);
      const line = make("li");
      line.append(Object.assign(make("span", text === null ? key : `${key}: `), { className: "exact" }));
      line.append(text !== null ? text : Object.keys(part).length ? tree(part, false) : ": default");
      list.append(line);
    }
  }
  return list;
}

function rows(pairs) {
  const table = make("table");
  for (const [name, text, exact] of pairs) {
    const cell = make("td", text);
    if (exact !== undefined) cell.append(Object.assign(make("span", ` (${exact})`), { className: "exact" }));
    table.append(make("tr", null, make("td", name), cell));
  }
  return table;
}

function figures(about) {
  const found = [];
  for (const [key, name, unit] of [
    ["parameters", "Parameters", ""],
    ["buffers", "Buffers", ""],
    ["macs", "MACs", ""],
    ["flops", "FLOPs", ""],
    ["weight_bytes", "Weights", "B"],
    ["activation_bytes", "Activations", "B"],
  ]) {
    const number = about[key];
    if (number === undefined || number === 0) continue;
    const text = unit ? bytes(number) : short(number);
    found.push(number !== null && number >= 1000 ? [name, text, number.toLocaleString("en")] : [name, text]);
  }
  return found;
}

export function card(id) {
  const about = data.boxes[id];
  const pairs = [["Type", about.type || "group"]];
  if (about.members) pairs.push(["Stands for", `${about.times} equal ones`]);
  for (const [key, item] of Object.entries(about.attributes || {})) {
    const text = value(item);
    if (text !== null && text.length < 80) pairs.push([key, text]);
  }
  for (const [name, dims] of about.inputs || []) pairs.push(["in", `${name}  ${shape(dims)}`]);
  for (const [name, dims] of about.outputs || []) pairs.push(["out", `${name}  ${shape(dims)}`]);
  return [make("b", about.name || id), rows([...pairs.slice(0, 14), ...figures(about).map(([name, text]) => [name, text])])];
}

export function panel(id, go, weights) {
  const about = data.boxes[id];
  const found = [make("h2", about.name || id), make("div", about.type || "group")];
  const part = (title, element) => found.push(make("h3", title), element);
  if (about.attributes && Object.keys(about.attributes).length) part("Settings", tree(about.attributes, true));
  for (const [key, title] of [["inputs", "Inputs"], ["outputs", "Outputs"]]) {
    if ((about[key] || []).length) part(title, rows(about[key].map(([name, dims]) => [name, shape(dims)])));
  }
  const cost = figures(about);
  if (cost.length) part("Cost", rows(cost));
  if (weights) part("Weights", weights);
  if ((about.rows || []).length) part("Also in this box", links(about.rows, go));
  if (about.row_of) part("Drawn in", links([about.row_of], go));
  if (about.members) {
    const names = Object.fromEntries(about.members.map((name, k) => [k + 1, name]));
    part(`Stands for ${about.times} equal ones (${about.weights === "none" ? "no" : about.weights} weights)`, tree(names, true));
  }
  if ((about.folded || []).length) part("Folded into it", tree(Object.fromEntries(about.folded.map((name, k) => [k + 1, name])), true));
  if ((about.layers || []).length) part(`Layers (${about.layers.length})`, tree(Object.fromEntries(about.layers.map((name, k) => [k + 1, name])), true));
  const origin = [];
  if (about.source) origin.push(["Source", about.source]);
  if ((about.ops || []).length) origin.push(["ONNX", about.ops.join(", ")]);
  if (about.dtype) origin.push(["Type", about.dtype]);
  if (about.dtypes) origin.push(["Types", about.dtypes.join(", ")]);
  if (about.device) origin.push(["Device", about.device]);
  if (about.devices) origin.push(["Devices", about.devices.join(", ")]);
  if (origin.length) part("Origin", rows(origin));
  return found;
}

function links(ids, go) {
  const list = Object.assign(make("ul"), { className: "plain" });
  for (const id of ids) {
    const link = make("a", (data.boxes[id] || {}).name || id);
    link.href = "#" + encodeURIComponent(id);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      go(id);
    });
    list.append(make("li", null, link));
  }
  return list;
}
