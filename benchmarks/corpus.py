"""Render every well-formed Caffe file of the shared corpus into every format and direction, and check what comes out.

Run as ``python benchmarks/corpus.py [FOLDER]``. Each DOT file is read by Graphviz (``dot -Tcanon``) where that is
installed, each SVG is parsed, all others are recognised by their first bytes. Prints a line a file and the totals;
exits 1 where anything failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from xml.etree import ElementTree

from graphviz_nets import api
from graphviz_nets.config import RANKDIRS, Options
from graphviz_nets.errors import GraphvizNetsError
from graphviz_nets.renderers import draw

FORMATS = ("dot", "svg", "png", "pdf", "html", "json")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "models" / "caffe"


def files(folder: Path) -> list[Path]:
    """Return the prototxt and solver files of a folder, the malformed ones left out."""
    found = [path for suffix in ("*.prototxt", "*.pt", "*.solver") for path in folder.rglob(suffix)]
    return sorted(path for path in found if "malformed" not in path.parts)


def check(name: str, content: bytes) -> str:
    """Return what is wrong with a picture, an empty string where nothing is."""
    if name == "dot" and which("dot"):
        run = subprocess.run(["dot", "-Tcanon"], input=content, capture_output=True, check=False)
        return run.stderr.decode(errors="replace").strip() if run.returncode else ""
    if name == "svg":
        ElementTree.fromstring(content)
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>", "json": b"{"}.get(name, b"")
    return "" if content.startswith(magic) else f"the {name} does not begin with {magic!r}"


def main(folder: Path) -> int:
    """Render everything; return the number of failures."""
    failures = pictures = refused = 0
    began = time.perf_counter()
    for path in files(folder):
        start = time.perf_counter()
        try:
            model = api.load(path)
        except GraphvizNetsError as fault:
            refused += 1
            print(f"refused  {path.relative_to(folder)}: {fault.message[:100]}")
            continue
        for rankdir in RANKDIRS:
            options = Options(rankdir=rankdir, scale=1.0)
            for name, content in zip(FORMATS, draw(model, FORMATS, options), strict=True):
                pictures += 1
                fault_text = check(name, content)
                if fault_text:
                    failures += 1
                    print(f"FAILED   {path.relative_to(folder)} {rankdir} {name}: {fault_text[:200]}")
        print(f"{time.perf_counter() - start:6.2f} s {path.relative_to(folder)}", flush=True)
    print(f"{pictures} pictures, {failures} failures, {refused} refused, {time.perf_counter() - began:.1f} s")
    return failures


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED) else 0)
