"""Families: groups that names alone tell of, such as the blocks of ``res4b1_branch2a``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

FEWEST = 3
"""Members of a family."""
SHARE = 0.8
"""A family that holds more than this share of what there is says nothing."""
LONGEST = 24
"""Parts of a name that are looked at."""

_PART = re.compile(r"[A-Za-z]+|[0-9]+")


def parts(name: str) -> list[tuple[str, int]]:
    """Return the words and numbers of a name, each with the position where it ends.

    Examples
    --------
    >>> parts("res2a_branch1")
    [('res', 3), ('2', 4), ('a', 5), ('branch', 12), ('1', 13)]
    """
    found = [(match.group(), match.end()) for match in _PART.finditer(name)]
    return found[:LONGEST]


def families(
    names: Sequence[str], fits: Callable[[Sequence[int]], bool], least: int = FEWEST
) -> list[tuple[str, list[int]]]:
    """Group names by common beginnings, the largest groups that fit.

    Parameters
    ----------
    names : sequence of str
        What the members are called.
    fits : callable
        Says whether some members (by index, in order) may stand together.
    least : int
        Smallest group.

    Returns
    -------
    list of (beginning, members)
        No member is in two groups; some are in none.

    Examples
    --------
    >>> families(["a1x", "a1y", "a1z", "b1", "b2", "c"], lambda members: True)
    [('a', [0, 1, 2])]
    >>> families([f"res{k}_conv{j}" for k in (1, 2) for j in (1, 2, 3)], lambda members: len(members) < 6)
    [('res1', [0, 1, 2]), ('res2', [3, 4, 5])]
    """
    split = [parts(name) for name in names]
    result: list[tuple[str, list[int]]] = []
    waiting: list[tuple[list[int], int]] = [(list(range(len(names))), 0)]
    most = SHARE * len(names)
    while waiting:
        members, depth = waiting.pop()
        by_word: dict[str, list[int]] = {}
        for k in members:
            if len(split[k]) > depth:
                by_word.setdefault(split[k][depth][0], []).append(k)
        for inner in by_word.values():
            if len(inner) < least:
                continue
            # A word that all go on with belongs to the beginning.
            size = depth + 1
            while len({split[k][size][0] if len(split[k]) > size else None for k in inner}) == 1:
                if len(split[inner[0]]) <= size:
                    break
                size += 1
            if len(inner) <= most and fits(inner):
                first = inner[0]
                result.append((names[first][: split[first][depth][1]], inner))
            else:
                waiting.append((inner, size))
    return sorted(result, key=lambda item: item[1][0])
