import * as source from "./editor_text.js";
import * as graph from "./editor_graph.js";
import { make } from "./page_panel.js";
// Wires the text to the graph and to the file.
const PAUSE = 120;
const byId = (id) => document.getElementById(id);
const state = { name: "", version: "", saved: "", good: null, templates: {} };
const open = new Map(); // groups that were opened or closed by hand
let waiting = 0;
let flight = null;

class Refusal extends Error {}

// Ask the server; what it refuses is an error with its words.
async function ask(path, body, signal) {
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(path, { method, body: JSON.stringify(body), signal }).catch((fault) => {
    if (fault.name === "AbortError") throw fault;
    throw new Refusal("The editor's server does not answer. Start it again to save; the text is still here.");
  });
  if (response.ok) return response;
  const json = response.headers.get("content-type") === "application/json";
  throw new Refusal(json ? (await response.json()).error.text : `The server failed (${response.status}); its terminal says why.`);
}

// What the file is -----------------------------------------------------------------------------------------------

const unsaved = () => source.text() !== state.saved;

function title() {
  byId("name").textContent = state.name;
  byId("name").classList.toggle("unsaved", unsaved());
  byId("name").title = unsaved() ? "There are unsaved changes" : "Saved";
  byId("save").disabled = !unsaved();
  document.title = `${unsaved() ? "• " : ""}${state.name}`;
}

async function load() {
  const about = await (await ask("file")).json();
  Object.assign(state, { name: about.name, version: about.version, saved: about.text, templates: about.templates });
  source.load(about.text);
  notice(null);
  changed(true);
  return about;
}

async function save() {
  const text = source.text();
  const answer = await (await ask("save", { text, version: state.version })).json();
  if (!answer.saved) return conflict(answer.version);
  state.version = answer.version;
  state.saved = text;
  notice(null);
  title();
}

function conflict(version) {
  const what = version ? "has changed on disk" : "is no longer on disk";
  const overwrite = () => {
    state.version = version;
    return save();
  };
  notice(`${state.name} ${what} since it was read.`, ["Overwrite", overwrite], ["Reload", load], ["Later", () => notice(null)]);
}

// Has the file changed while the reader was elsewhere?
async function look() {
  const about = await (await ask("file")).json();
  if (about.version === state.version) return;
  if (unsaved() || !about.version) conflict(about.version);
  else await load();
}

function notice(text, ...actions) {
  const bar = byId("notice");
  bar.hidden = text === null;
  bar.dataset.refusal = String(text !== null && !actions.length);
  bar.replaceChildren(make("span", text ?? ""));
  for (const [name, act] of actions) {
    const button = make("button", name);
    button.addEventListener("click", () => inTurn(act));
    bar.append(button);
  }
}

// What the server refuses is told until it does something again.
async function attempt(act) {
  try {
    await act();
    if (byId("notice").dataset.refusal === "true") notice(null);
  } catch (fault) {
    if (fault instanceof Refusal) notice(fault.message);
    else if (fault.name !== "AbortError") throw fault;
  }
}

// One dealing with the file after the other: each begins with the version that the one before has left.
let last = Promise.resolve();
const inTurn = (act) => (last = last.then(() => attempt(act)));

// What is drawn --------------------------------------------------------------------------------------------------

function wishes() {
  const names = (wanted) => [...open].filter(([, is]) => is === wanted).map(([id]) => id);
  return { rankdir: byId("rankdir").value, phase: byId("phase").value, expand: names(true), collapse: names(false) };
}

function changed(anew) {
  title();
  const empty = !source.text().trim();
  byId("start").hidden = !empty;
  clearTimeout(waiting);
  waiting = setTimeout(() => attempt(() => draw(anew === true)), anew === true ? 0 : PAUSE);
}

async function draw(anew) {
  if (flight) flight.abort();
  const mine = (flight = new AbortController());
  const body = { text: source.text(), ...wishes() };
  const busy = (is) => byId("graph").setAttribute("aria-busy", String(is));
  const slow = setTimeout(busy, 600, true);
  const response = await ask("draw", body, mine.signal).finally(() => clearTimeout(slow));
  const answer = await response.json();
  if (mine !== flight) return;
  busy(false);
  if (answer.error) return remarks(answer.error, []);
  state.good = body;
  graph.show(answer, anew);
  byId("totals").textContent = answer.totals;
  remarks(null, answer.remarks);
  follow(false);
}

// Say what is wrong: in a list, and at the lines.
function remarks(error, odd) {
  const stale = error !== null && source.text().trim() !== "";
  byId("stale").hidden = !stale || !state.good;
  byId("graph").classList.toggle("stale", stale);
  for (const button of byId("exports").children) button.disabled = !state.good;
  const all = [...(stale ? [{ ...error, kind: "bad" }] : []), ...odd.map((one) => ({ ...one, kind: "odd" }))];
  source.mark(new Map([...all].reverse().filter((one) => one.line).map((one) => [one.line, one])));
  byId("remarks").hidden = !all.length;
  byId("remarks").replaceChildren(
    ...all.map((one) => {
      const button = make("button", "", make("b", one.line ? `Line ${one.line}` : "Net"), one.text);
      button.addEventListener("click", () => one.line && source.go(one.line, one.column));
      const item = make("li", "", button);
      item.className = one.kind;
      return item;
    }),
  );
  document.documentElement.dataset.state = error ? "broken" : "drawn";
}

function follow(shown) {
  graph.mark(graph.boxOf(...source.selection()), shown);
}

async function saveAs(form) {
  const response = await ask("export", { ...state.good, format: form });
  const link = make("a", "");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${state.name.replace(/\.[^.]*$/, "") || "net"}.${form}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Events ---------------------------------------------------------------------------------------------------------

source.onChange(() => changed());
source.onMove(() => follow(true));
graph.onClick((id) => graph.linesOf(id) && source.select(...graph.linesOf(id)));
graph.onToggle((id, wanted) => {
  open.set(id, wanted);
  attempt(() => draw(false));
});
for (const id of ["rankdir", "phase"]) byId(id).addEventListener("change", () => attempt(() => draw(true)));
byId("save").addEventListener("click", () => inTurn(save));
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
  event.preventDefault();
  if (unsaved()) inTurn(save);
});
addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());
addEventListener("focus", () => inTurn(look));
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// The border between text and graph is dragged, or moved with the arrow keys.
const split = byId("split");
function divide(x) {
  const room = split.parentElement.getBoundingClientRect();
  const share = Math.max(15, Math.min(85, ((x - room.left) / room.width) * 100));
  document.documentElement.style.setProperty("--share", `${share}%`);
  split.setAttribute("aria-valuenow", Math.round(share));
}
split.addEventListener("pointerdown", (event) => split.setPointerCapture(event.pointerId));
split.addEventListener("pointermove", (event) => split.hasPointerCapture(event.pointerId) && divide(event.clientX));
split.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -24, ArrowRight: 24 }[event.key];
  if (step) divide(split.getBoundingClientRect().left + step);
});

function begin(name) {
  open.clear();
  source.replace(state.templates[name]);
  changed(true);
}

await inTurn(async () => {
  const about = await load();
  for (const form of about.exports) {
    const button = make("button", form.toUpperCase());
    button.title = `Save the drawing as ${form.toUpperCase()}`;
    button.disabled = true;
    button.addEventListener("click", () => attempt(() => saveAs(form)));
    byId("exports").append(button);
  }
  for (const [name, text] of Object.entries(about.templates)) {
    byId("template").append(new Option(name, name));
    const button = make("button", "", make("b", name), make("span", /: *(.*)/.exec(text)[1]));
    button.addEventListener("click", () => begin(name));
    byId("start").append(button);
  }
  byId("template").addEventListener("change", (event) => {
    begin(event.target.value);
    event.target.value = "";
  });
});
