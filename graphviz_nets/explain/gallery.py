"""A page of explained images: each with its maps and what the model sees in it. One file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.explain.heatmap import coloured, data_uri

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; --bar: #0969da33 }
@media (prefers-color-scheme: dark) {
  :root { --back: #15181c; --text: #e6edf3; --soft: #9aa4af; --line: #30363d; --bar: #4493f855 }
}
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0 }
p { color: var(--soft); margin: .3rem 0 1.2rem }
section { border-top: 1px solid var(--line); padding: 1rem 0 }
h2 { font-size: 1rem; margin: 0 0 .6rem; overflow-wrap: anywhere }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
figure { margin: 0; width: 14rem }
figcaption { font-size: .8rem; line-height: 1.35; color: var(--soft); overflow-wrap: anywhere; margin-top: .3rem }
figcaption strong { display: block; font-size: .9rem; color: var(--text) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1.2rem 1rem;
  margin-top: 1rem }
.grid figure { width: auto }
.keys { display: flex; flex-wrap: wrap; gap: .3rem 2rem; align-items: center; font-size: .9rem; margin: .6rem 0 1.2rem }
.key { display: inline-block; width: 7rem; height: .7rem; border-radius: 2px; margin: 0 .4rem }
.stack { position: relative; line-height: 0 }
.stack img { width: 100%; image-rendering: auto; border-radius: 4px }
.stack .map { position: absolute; inset: 0; opacity: var(--opacity, .75) }
ol { list-style: none; margin: 0; padding: 0; width: 16rem; font-size: .9rem }
li { display: flex; justify-content: space-between; gap: 1rem; padding: .1rem .4rem; border-radius: 3px;
  background: linear-gradient(to right, var(--bar) var(--share, 0%), transparent 0) }
li span:first-child { overflow-wrap: anywhere }
li span:last-child { font-variant-numeric: tabular-nums; color: var(--soft) }
label { display: inline-flex; gap: .6rem; align-items: center; font-size: .9rem }
@media print { label { display: none } section { break-inside: avoid } }
"""
SCRIPT = """
const slider = document.getElementById("opacity")
const show = () => document.documentElement.style.setProperty("--opacity", slider.value / 100)
slider.addEventListener("input", show)
for (const bar of document.querySelectorAll("li[data-share]")) bar.style.setProperty("--share", bar.dataset.share + "%")
show()
"""


EMPTY = "Empty: nothing comes back for this image."


@dataclass(frozen=True)
class Map:
    """A method's map of an image: values (H, W), whether they have signs, and a line on what the method says."""

    name: str
    values: Array
    signed: bool
    words: str = ""


@dataclass(frozen=True)
class Explained:
    """One image: its picture (H, W, 3), its best classes with their scores, its maps, and the class they explain."""

    name: str
    picture: Array
    best: Sequence[tuple[str, float]]
    maps: Sequence[Map] = field(default_factory=tuple)
    target: str = ""


def page(title: str, about: str, images: Sequence[Explained], more: str = "", style: str = "") -> str:
    """Return the page.

    Parameters
    ----------
    title, about : str
        A heading, and a line below it.
    images : sequence of Explained
        In the order in which they are shown.
    more, style : str
        HTML for the end of the page, and what it needs of a style.
    """
    style = STYLE + style
    body = "".join(map(_section, images))
    signs = {one.signed for image in images for one in image.maps}
    keys = "".join(_key(signed) for signed in (False, True) if signed in signs)
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(SCRIPT)}'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{style}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><p>{escape(about)}</p>\n"
        '<div class="keys"><label>Strength of the maps '
        f'<input id="opacity" type="range" min="0" max="100" value="75"></label>{keys}</div>\n'
        f"{body}{more}<script>{SCRIPT}</script></body></html>\n"
    )


def _key(signed: bool) -> str:
    """Return the legend of one of the two scales, as a picture: a style in an attribute is not allowed here."""
    import numpy as np

    ends = ("against", "for") if signed else ("little", "much")
    ramp = np.linspace(-1 if signed else 0, 1, 112)[None].repeat(8, 0)
    bar = f'<img class="key" src="{data_uri(coloured(ramp, signed))}" alt="">'
    return f"<span>{ends[0]}{bar}{ends[1]}</span>"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _section(one: Explained) -> str:
    picture = data_uri(one.picture)
    figures = "".join(
        f'<figure><div class="stack"><img src="{picture}" alt=""><img class="map" '
        f'src="{data_uri(coloured(found.values, found.signed))}" alt="map of {escape(found.name)}"></div>'
        f"<figcaption><strong>{escape(found.name)}</strong>{escape(found.words if found.values.any() else EMPTY)}"
        "</figcaption></figure>"
        for found in one.maps
    )
    top = max((score for _, score in one.best), default=0)
    best = ""
    for label, score in one.best:
        share = max(score, 0) / top * 100 if top > 0 else 0  # what speaks against a class has no bar
        best += f'<li data-share="{share:.0f}"><span>{escape(label)}</span><span>{score:.3g}</span></li>'
    about = f", explained: {escape(one.target)}" if one.target else ""
    return (
        f'<section><h2>{escape(one.name)}{about}</h2><div class="row"><figure><div class="stack">'
        f'<img src="{picture}" alt="the image"></div></figure><ol>{best}</ol></div>'
        f'<div class="grid">{figures}</div></section>\n'
    )
