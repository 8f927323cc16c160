"""What `explain` works on: a model, images made ready for it, and what of its results is explained."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import click

from graphviz_nets.cli.commands import Input, open_input, say
from graphviz_nets.errors import ConfigError, ConvertError, RunError, meant

if TYPE_CHECKING:
    import numpy as np

    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.explain.together import Together
    from graphviz_nets.graph.ir import Model
    from graphviz_nets.graph.preprocess import Preprocess

    Array: TypeAlias = np.ndarray[Any, Any]

LONGEST = 1 << 24
"""Bytes of a file of labels."""


class Mark(NamedTuple):
    """What a detector has found and is explained: left, top, right and bottom in pixels, its class and its score."""

    box: tuple[float, ...]
    label: int
    score: float


class Work:
    """A model and images, ready to be explained in batches."""

    def __init__(self, given: Input, paths: Sequence[Path], asked: Mapping[str, Any]) -> None:
        from graphviz_nets.explain import images as pictures
        from graphviz_nets.explain.explainer import Explainer
        from graphviz_nets.explain.layers import find
        from graphviz_nets.explain.relevance import values_by_id
        from graphviz_nets.explain.runner import must_run
        from graphviz_nets.explain.targets import proposals

        model = open_input(given)
        must_run(model)
        self.title = model.name or Path(asked["source"]).name
        self.labels = _labels(asked["labels"])
        self.notes: list[str] = []
        self.quiet = bool(asked["quiet"])
        self.found: dict[str, Array] = {}
        self.options: dict[str, Mapping[str, Any]] = {}

        paths = pictures.files(paths)
        self.record = _record(model, asked["preprocess"], all(path.suffix.lower() == ".npy" for path in paths))
        model, name = self._read(model, paths)
        model = self._batched(model, name, given, asked["batch_size"])
        self.box: str | None = asked["box"]
        proposed = model if asked["value"] else proposals(model)
        if proposed is not model:  # rows of detections have no scores of their own
            model, self.box = proposed, self.box or "best"

        first, *_ = model.graph.value(name).shape or (None,)
        wanted = first if isinstance(first, int) else min(asked["batch_size"], len(self.x))
        self.values = values_by_id(model) if asked["relevant"] else {}
        about = None if asked["value"] is None else find(model, asked["value"], "--of")
        explainer = partial(
            Explainer, model, sizes={name: (wanted, *self.x.shape[1:])}, provider=asked["provider"], seen=self.seen,
            layers=list(self.values.values()) or [find(model, layer) for layer in asked["layers"]],
        )  # fmt: skip
        self.explainer = explainer(target=about)
        self.scores = self.explainer.scores(self.x)
        self._check_scores()
        self.target = self.classes(asked["target"])
        self.against = None if asked["against"] is None else self.classes(asked["against"])
        self.predicted = bool(asked["predicted"])
        self.boxes: dict[str, Any] = {}
        self.marks: list[Mark] = []
        self.row: Array | None = None
        if self.box is not None:
            self._turn_to_box(explainer, asked)
        elif asked["value"] is None:
            self._note_detector()

    def _note_detector(self) -> None:
        """Note that what is explained as classes may be boxes."""
        from graphviz_nets.explain.targets import detector

        image = self.explainer.image
        if self.scores.ndim != 3 or image is None or len(image.grid) != 2:
            return
        with suppress(ConfigError):  # it is none
            kind = detector(self.explainer).kind
            self.notes.append(f"the outputs may be those of a detector ({kind}): --box best explains what it finds")

    def _read(self, model: Model, paths: Sequence[Path]) -> tuple[Model, str]:
        """Read the images; return the model, with several inputs as one where they are given, and its input's name."""
        from graphviz_nets.explain import images as pictures
        from graphviz_nets.explain.together import together

        def batch(name: str, files: Sequence[Path]) -> Array:
            return pictures.batch(files, self.record, model.graph.value(name).shape or ())

        self.together: Together | None = None
        self.seen: str | None = None
        if named := _named(model, paths):
            parts = {name: batch(name, pictures.files(files)) for name, files in named.items()}
            self.together = together(model, {name: array.shape[1:] for name, array in parts.items()})
            self.seen = next((name for name, array in parts.items() if array.ndim > 2), None)
            self.x = self.together.pack(parts)
            self.inputs: Array = parts[self.seen] if self.seen else self.x
            self.names = [f"{k}" for k in range(len(self.x))]
            return self.together.model, self.together.model.graph.inputs[0]
        found = next((name for name in model.graph.inputs if len(model.graph.value(name).shape or ()) > 1), None)
        if found is None:
            raise ConfigError("the model has no input for images", hint="explain needs one of two axes or more")
        self.x = self.inputs = batch(found, paths)
        self.names = _names(paths)
        return model, found

    def _batched(self, model: Model, name: str, given: Input, most: int) -> Model:
        """Return a Caffe net with the batch that is wanted, which is a setting of its file; others as they are."""
        from graphviz_nets import api

        wanted = min(most, len(self.x))
        if model.framework != "caffe" or self.together or (model.graph.value(name).shape or (wanted,))[0] == wanted:
            return model
        shapes = {**given.options.input_shapes, name: (None, (wanted, *self.x.shape[1:]))}
        return api.load(given.path, replace(given.options, input_shapes=shapes), data=given.data)

    def classes(self, target: str) -> Any:
        """Return the target as a class number, or as one for each image."""
        from graphviz_nets.explain.methods.table import ranked

        if self.scores.ndim < 2:
            if target != "top1":
                raise ConfigError(f"{self.explainer.target!r} has no classes", key="--target", hint="leave it out")
            return 0
        if target.isdecimal():
            return int(target)
        if target.removeprefix("top").isdecimal():
            return ranked(self.scores, target)
        low = target.lower()
        names = [[label.lower(), *_names_in(label)] for label in self.labels]
        exact = [k for k, known in enumerate(names) if low in known]
        found = exact or [k for k, label in enumerate(self.labels) if low in label.lower()]
        if len(found) == 1:
            return found[0]
        if not self.labels:
            raise ConfigError(f"{target!r} is a label, and there are no labels", key="--target", hint="--labels FILE")
        if not found:
            raise ConfigError(f"no label holds {target!r}", key="--target",
                              hint=meant(low, chain(*names), "a class's number, its label, or top1"))  # fmt: skip
        near = ", ".join(self.labels[k] for k in found[:5])
        raise ConfigError(f"{target!r} may be {near}", key="--target", hint="name one, or its number")

    def _check_scores(self) -> None:
        """Raise a RunError where the model says nothing, and note where the labels are not those of its classes."""
        import numpy as np

        bad = [name for name, row in zip(self.names, self.scores, strict=False) if np.isnan(row).any()]
        if bad:
            raise RunError(f"the model's result is NaN for {', '.join(bad[:5])}", hint="see --preprocess")
        if self.labels and self.box is None and self.scores.ndim > 1 and self.scores.shape[1] != len(self.labels):
            self.notes.append(f"--labels has {len(self.labels)} lines, and the model {self.scores.shape[1]} classes")

    def _turn_to_box(self, explainer: Callable[..., Explainer], asked: Mapping[str, Any]) -> None:
        """Make the score of a detector's box what is explained, by an explainer of another target."""
        from graphviz_nets.explain import targets
        from graphviz_nets.explain.images import load_array

        box, target = _box(self.box), asked["target"]
        if target != "top1" and target.removeprefix("top").isdecimal() and not target.isdecimal():
            raise ConfigError(f"{target!r} is no class of a box", key="--target", hint="a class's number, or its label")
        label = None if target == "top1" else self.classes(target)
        priors = None if asked["priors"] is None else load_array(asked["priors"])
        how = targets.detector(self.explainer, asked["detector"] or "", priors=priors)
        self.boxes = {"box": box, "label": label, "how": how}
        for found in targets.detections(self.explainer, self.x, how):
            number, best = targets.nearest(found, box, label)
            self.marks.append(Mark(tuple(found.boxes[number].tolist()), best, float(found.scores[number, best])))
        if targets.KINDS[how.kind].factors is not None:
            name, self.row = targets.score_of(self.explainer, self.x, how, box, label)
            self.explainer = explainer(target=name)
            self.explainer.exclusive = False

    def seed(self, some: slice) -> Array:
        """Return what weighs the target's elements for some of the images."""
        from graphviz_nets.explain.methods import seeds
        from graphviz_nets.explain.targets import predicted

        if self.row is not None:
            return self.row[some]
        blank = self.explainer.blank(self.x[some])
        parts = [seeds(blank, one if isinstance(one, int) else one[some])
                 for one in (self.target, self.against) if one is not None]  # fmt: skip
        found = parts[0] if len(parts) == 1 else parts[0] - parts[1]
        return predicted(self.scores[some], found) if self.predicted else found

    def all(self, chosen: Sequence[str], options: Mapping[str, dict[str, Any]], skip: bool) -> None:
        """Find each method's attribution; where all are asked for, leave out those that the model has no use for."""
        from graphviz_nets.errors import GraphvizNetsError
        from graphviz_nets.explain.methods import QUICK

        for name in chosen:
            if len(chosen) > 1 and not self.quiet and not sys.stderr.isatty():
                say(f"{name} ...")
            given = ({**QUICK.get(name, {}), **options[name]}) if skip else options[name]
            about = ", ".join(f"{key}={value}" for key, value in given.items()) if skip else ""
            try:
                if name == "d-rise":
                    given |= self.boxes
                elif self.boxes and self.row is None:
                    raise ConfigError(f"{name} cannot go back from rows of results", key="--box",
                                      hint="d-rise can explain them")  # fmt: skip
                self.found[name] = self.run(name, self.explainer, self.x, given)
                self.options[name] = given
                if about:
                    self.notes.append(f"{name} with {about}")
            except GraphvizNetsError as fault:
                if not skip:
                    raise
                self.notes.append(f"{name} is left out: {fault}")

    def run(self, name: str, explainer: Explainer, x: Array, options: Mapping[str, Any]) -> Array:
        """Return a method's attribution of all images, with a bar on the terminal."""
        import numpy as np

        from graphviz_nets.explain.methods import explain

        parts = []
        size = explainer.shape[0]
        steps = range(0, len(x), size)
        explainer.track = (lambda inner, label: inner) if len(steps) > 1 else self.bar
        for start in self.bar(steps, name):
            some = slice(start, start + size)
            parts.append(explain(explainer, x[some], self.seed(some), name, **options))
            self.notes += explainer.notes
        return np.concatenate(parts)

    def again(self, name: str, explainer: Explainer, x: Array) -> Array:
        """Return a method's maps of other images of the same targets, or by another explainer."""
        noted = list(self.notes)
        found = self.maps(name, self.run(name, explainer, x, self.options[name]))
        self.notes = noted
        return found

    def evaluate(self, metrics: Sequence[str]) -> dict[str, Any]:
        """Return what the metrics say of all maps that were found."""
        from graphviz_nets.explain.evaluation import evaluate

        boxes = [mark.box for mark in self.marks] or None
        maps = {name: self.maps(name, attribution) for name, attribution in self.found.items()}
        self.explainer.track = self.bar
        report = evaluate(self.explainer, self.x, self.seed(slice(None)), maps, self.again, boxes, metrics)
        self.notes += [f"{name} is left out: {why}" for name, why in report["left_out"].items()]
        return report

    def bar(self, steps: Sequence[Any], label: str) -> Iterator[Any]:
        if self.quiet or len(steps) < 2 or not sys.stderr.isatty():
            yield from steps
            return
        with click.progressbar(steps, label=label, file=sys.stderr) as bar:
            yield from bar

    def best(self, k: int) -> list[tuple[str, float]]:
        """Return an image's five best classes and their scores, or those of the box that is explained."""
        if self.marks:
            return [(self.label(self.marks[k].label), self.marks[k].score)]
        if self.scores.ndim < 2:
            return [(self.explainer.target, float(self.scores[k]))]
        flat = self.scores[k].reshape(len(self.scores[k]), -1).mean(1)
        return [(self.label(c), float(flat[c])) for c in (-flat).argsort(kind="stable")[:5]]

    def label(self, number: int) -> str:
        """Return a class's name."""
        return self.labels[number] if number < len(self.labels) else f"class {number}"

    def explained(self, k: int) -> str:
        """Return the name of the class that an image's maps explain."""
        if self.marks:
            return f"{self.label(self.marks[k].label)} at {', '.join(f'{side:.0f}' for side in self.marks[k].box)}"
        if self.scores.ndim < 2:
            return self.explainer.target
        both = [self.label(one if isinstance(one, int) else int(one[k]))
                for one in (self.target, self.against) if one is not None]  # fmt: skip
        return " against ".join(both)

    @property
    def axis(self) -> int:
        """The axis of the images' channels."""
        return 1 if self.explainer.view is None else self.explainer.view.axis

    @property
    def places(self) -> int:
        """How many pixels an image has."""
        return 1 if self.explainer.view is None else prod(self.explainer.view.grid)

    def check_pictures(self) -> None:
        """Raise a ConfigError where the input is no image, which could not be shown."""
        image = self.explainer.view
        if image is None or len(image.grid) != 2:
            raise ConfigError(
                f"an input of {self.x.shape[1:]} is no picture", key="-o", hint="OUT.npy holds the numbers"
            )

    def pictures(self) -> Array:
        """Return the images as the model sees them, and the boxes that are explained."""
        from graphviz_nets.explain.heatmap import framed, shown

        found = shown(self.inputs, self.axis, self.record.channels)
        for picture, mark in zip(found, self.marks, strict=False):
            framed(picture, mark.box)
        return found

    def parts(self, name: str, attribution: Array) -> dict[str, Array]:
        """Return what is said of each of several inputs; maps of layers are of the one that is seen."""
        from graphviz_nets.explain.methods import LAYERED

        assert self.together is not None
        return {str(self.seen): attribution} if name in LAYERED else self.together.unpack(attribution)

    def maps(self, name: str, attribution: Array) -> Array:
        """Return (images, H, W) maps."""
        from graphviz_nets.explain.methods import heat

        return heat(name, attribution, self.axis)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each image: that of its file, and its number where a file holds several."""
    from graphviz_nets.explain.images import load_array

    found = []
    for path in paths:
        number = len(load_array(path)) if path.suffix.lower() == ".npy" else 1
        found += [path.name] if number == 1 else [f"{path.name} {k}" for k in range(number)]
    return found


def _box(text: str | None) -> tuple[float, ...] | None:
    """Return left, top, right and bottom; None for the best box."""
    if text is None or text == "best":
        return None
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
        if not left < right or not top < bottom:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{text!r} is no box", key="--box", hint="left,top,right,bottom in pixels, or best") from None
    return left, top, right, bottom


def _record(model: Model, preprocess: str | None, arrays: bool) -> Preprocess:
    """Return what is done to images: what is asked for, or what the model says; arrays need nothing."""
    from graphviz_nets import api
    from graphviz_nets.explain import images as pictures
    from graphviz_nets.graph.preprocess import Preprocess

    record = api.preprocess_of(preprocess) if preprocess is not None else pictures.record_of(model)
    if record is None and not arrays:
        raise ConfigError("the model does not say what is done to its images", key="--preprocess",
                          hint=f"one of {', '.join(pictures.PRESETS)}, or a YAML file")  # fmt: skip
    record = record or Preprocess()
    return pictures.fitted(record, model) if preprocess in pictures.PRESETS else record


def _named(model: Model, paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each input where they are given as NAME=FILE."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        name, equals, file = str(path).partition("=")
        if equals and name in model.graph.inputs:
            found.setdefault(name, []).append(Path(file))
        elif equals and not path.exists():
            raise ConfigError(f"the model has no input {name!r}", key="IMAGE",
                              hint=f"there are {', '.join(model.graph.inputs)}")  # fmt: skip
    if found and sum(map(len, found.values())) < len(paths):
        raise ConfigError("some files name their input, and some do not", key="IMAGE",
                          hint=f"NAME=FILE for each; there are {', '.join(model.graph.inputs)}")  # fmt: skip
    return found


def _names_in(label: str) -> list[str]:
    """Return the names in a label, in small letters.

    Examples
    --------
    >>> _names_in("n02123045 tabby, tabby cat")
    ['tabby', 'tabby cat']
    """
    return [name.strip() for name in re.sub(r"^n\d{8}\s", "", label).lower().split(",")]


def _labels(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        if path.stat().st_size > LONGEST:
            raise ConvertError("a file of labels is not that large", path=str(path))
        text = path.read_text("utf-8")
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None
    except UnicodeDecodeError:
        raise ConvertError("the labels are not text in UTF-8", path=str(path)) from None
    # Within a line only: what may run over lines takes the square of a file's length.
    numbered = re.findall(r"""^[{ \t]*(\d+)[ \t]*:[ \t]*(['"])(.*)\2,?[ \t]*\}?[ \t]*$""", text, re.MULTILINE)
    if numbered and [int(number) for number, *_ in numbered] == list(range(len(numbered))):
        return [label for *_, label in numbered]  # a dictionary, as lists of ImageNet's classes often are
    return [line.strip() for line in text.splitlines() if line.strip()]
