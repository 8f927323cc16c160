"""Text: its width by the metrics of one font, cutting and wrapping."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

FAMILY = "Roboto"

WIDE, NARROW = 1.0, 0.6
"""Widths in em of characters that the font lacks: East Asian wide ones, and all others."""


class Font:
    """Advance widths of a TrueType or OpenType font, in em.

    Parameters
    ----------
    path : Path
        The font file.
    """

    def __init__(self, path: Path) -> None:
        from fontTools.ttLib import TTFont

        self.path = path
        with TTFont(path, lazy=True, fontNumber=0) as font:
            em = font["head"].unitsPerEm
            metrics = font["hmtx"].metrics
            self.advances: dict[str, float] = {
                chr(code): metrics[glyph][0] / em for code, glyph in font.getBestCmap().items() if glyph in metrics
            }
            self.family: str = font["name"].getBestFamilyName() or FAMILY

    def advance(self, char: str) -> float:
        """Return the width of one character in em."""
        known = self.advances.get(char)
        if known is not None:
            return known
        if unicodedata.combining(char):
            return 0.0
        return WIDE if unicodedata.east_asian_width(char) in "WF" else NARROW

    def width(self, text: str, size: float) -> float:
        """Return the width of a line of text at a size, in the unit of the size.

        Kerning is left out: it moves a line by less than one part in a hundred, nearly always inwards.
        """
        return size * sum(map(self.advance, text))

    def lacks(self, text: str) -> bool:
        """Say whether the font has no glyph for some visible character of the text."""
        return any(char not in self.advances and not unicodedata.category(char).startswith(("C", "Z")) for char in text)

    def cut(self, text: str, size: float, width: float) -> str:
        """Return the text, with its middle replaced by an ellipsis where it is wider than `width`."""
        if len(text) * 0.2 * size < width and self.width(text, size) <= width:
            return text
        room = width - self.width("…", size)
        head, used = 0, 0.0
        tail = len(text)
        # Two thirds of the room for the beginning, the rest for the end.
        while head < tail and used + self.advance(text[head]) * size <= room * 2 / 3:
            used += self.advance(text[head]) * size
            head += 1
        while tail > head and used + self.advance(text[tail - 1]) * size <= room:
            used += self.advance(text[tail - 1]) * size
            tail -= 1
        return f"{text[:head]}…{text[tail:]}"

    def wrap(self, words: tuple[str, ...], size: float, width: float, separator: str = ", ") -> tuple[str, ...]:
        """Join words into lines of at most `width`; a word that is too long is cut."""
        lines: list[str] = []
        for word in words:
            longer = f"{lines[-1]}{separator}{word}" if lines else word
            if lines and self.width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(self.cut(word, size, width))
        return tuple(lines)


@lru_cache(maxsize=8)
def font(path: Path | None = None, bold: bool = False) -> Font:
    """Return the project's font (Roboto), or the one at `path`.

    Examples
    --------
    >>> round(font().width("Convolution", 10.0), 2)
    53.15
    """
    if path is not None:
        from graphviz_nets.errors import ConfigError

        try:
            return Font(path)
        except Exception as fault:
            raise ConfigError(f"the font cannot be read: {fault}", file=str(path), key="font") from None
    return Font(roboto(bold))


def roboto(bold: bool = False) -> Path:
    """Return the path of the Roboto font that comes from the font-roboto package."""
    from importlib.util import find_spec

    spec = find_spec("font_roboto")
    assert spec is not None and spec.origin is not None, "font-roboto is a dependency of this package"
    return Path(spec.origin).parent / "files" / f"Roboto-{'Bold' if bold else 'Regular'}.ttf"


def visible(text: str) -> str:
    """Return text for a picture: control characters and what XML forbids as visible symbols, line breaks as one.

    Examples
    --------
    >>> visible("a\\nb\\x00")
    'a␊b␀'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE or code in _BIDI:
        return "\ufffd"
    return char


# Marks that change the direction of the text around them.
_BIDI = frozenset((0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0xFEFF))
