import { drawing, inView, extent } from "./page_view.js";
import { makeAll } from "./page_sheets.js";
import { element } from "./page_shapes.js";
// Save the drawing as a file that stands alone: the colours as they are now, as attributes, and the font inside.
const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-weight", "text-anchor"];
const DEFAULTS = { stroke: "none", "stroke-dasharray": "none", opacity: "1", "stroke-width": "1px", "text-anchor": "start", "font-weight": "400" };
const LARGEST = 16000;
const saver = document.getElementById("save");

function plainly(original) {
  const copy = original.cloneNode(false);
  for (const name of ["class", "style", "tabindex", "role", "aria-expanded"]) copy.removeAttribute(name);
  if (["rect", "path", "polygon", "text"].includes(original.tagName)) {
    const looks = getComputedStyle(original);
    for (const name of KEPT) {
      const value = looks.getPropertyValue(name);
      if (original.tagName !== "text" && /^(font|text)/.test(name)) continue;
      if (value === DEFAULTS[name]) copy.removeAttribute(name);
      else copy.setAttribute(name, value);
    }
  } else if (getComputedStyle(original).opacity !== "1") copy.setAttribute("opacity", getComputedStyle(original).opacity);
  for (const child of original.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) copy.append(child.cloneNode());
    else if (!child.matches("style, .sign, .hit")) copy.append(plainly(child));
  }
  return copy;
}

// The part of the drawing that is in view, or all of it.
function picture(all) {
  const [x, y, w, h] = inView();
  const [wide, high] = extent();
  const [left, top] = all ? [0, 0] : [Math.max(0, x), Math.max(0, y)];
  const size = all ? [wide, high] : [Math.min(wide, x + w) - left, Math.min(high, y + h) - top];
  makeAll(all);
  const made = plainly(drawing);
  makeAll(false);
  made.removeAttribute("id");
  made.setAttribute("role", "img");
  made.setAttribute("viewBox", [left, top, ...size].map((value) => value.toFixed(1)).join(" "));
  made.setAttribute("width", size[0].toFixed(1));
  made.setAttribute("height", size[1].toFixed(1));
  const fonts = document.querySelector("style").textContent.match(/@font-face{[^}]*}/g) || [];
  made.prepend(element("style", {}, fonts.join("")));
  return { text: new XMLSerializer().serializeToString(made), size };
}

const writers = {
  svg: async (all) => new Blob([picture(all).text], { type: "image/svg+xml" }),
  async png(all) {
    const { text, size } = picture(all);
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const scale = Math.min(2, LARGEST / Math.max(...size));
    const canvas = Object.assign(document.createElement("canvas"), { width: Math.ceil(size[0] * scale), height: Math.ceil(size[1] * scale) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  },
};

async function save(kind, all) {
  const blob = await writers[kind](all);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${document.title.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80)}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

saver.addEventListener("click", async (event) => {
  if (!event.target.dataset.save) return;
  const [kind, what] = event.target.dataset.save.split(" ");
  saver.open = false;
  saver.firstElementChild.focus();
  await save(kind, what === "all");
});
saver.addEventListener("focusout", (event) => (saver.open = saver.contains(event.relatedTarget) && saver.open));
