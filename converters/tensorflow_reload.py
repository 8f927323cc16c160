"""Keras files that our own table of layers cannot run: Keras itself reads them, where they name nothing but its own."""

from __future__ import annotations

import inspect
import re
import zipfile
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConvertError, MissingExtra

from .tensorflow_keras import configuration
from .tensorflow_run import faults, tensorflow

MODULES = re.compile(r"keras(\.(layers|initializers|regularizers|constraints|src\.ops\.\w+|src\.models\.functional))?")
PLACES = (
    "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras",
    "keras.src.models.functional",
)  # fmt: skip
"""Where a class is that a file gives no module for, as those of Keras 2."""
REFUSED = frozenset(
    "Lambda TFSMLayer TorchModuleWrapper FlaxLayer JaxLayer StringLookup IntegerLookup TextVectorization".split()
)
"""Keras's own layers that run code, or read files, that the file names."""
MEMBERS = frozenset({"config.json", "metadata.json", "model.weights.h5"})


def reloaded(path: Path) -> Any:
    """Return the Keras model of a file.

    Raises
    ------
    ConvertError
        Where it names what is not Keras's own, which might run anything, or Keras does not take it.
    MissingExtra
        Without TensorFlow.
    """
    config, _, _ = configuration(path, None)
    tensorflow()
    import keras

    odd = next(_strange(keras, config), None)
    if odd is not None:
        raise ConvertError(f"Keras is not asked to read it, for {odd} is not its own", path=str(path))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            extra = next((name for name in archive.namelist() if name not in MEMBERS), None)
        if extra is not None:
            raise ConvertError(
                f"Keras is not asked to read it, for it has {extra!r} beside its weights", path=str(path)
            )
    if keras.backend.backend() != "tensorflow":
        raise MissingExtra("Keras on TensorFlow", extra="tensorflow")
    with faults(str(path)):
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def _strange(keras: Any, config: Any) -> Any:
    """Yield the classes that a configuration names and that are not Keras's own layers, operations or initializers."""
    waiting = [config]
    while waiting:
        here = waiting.pop()
        if isinstance(here, list):
            waiting += here
        elif isinstance(here, Mapping):
            waiting += here.values()
            if "class_name" in here and here["class_name"] != "__keras_tensor__" and not _own(keras, here):
                yield repr(here["class_name"])[:80]


def _own(keras: Any, item: Mapping[str, Any]) -> bool:
    name, module = item["class_name"], item.get("module")
    if not isinstance(name, str) or name in REFUSED or item.get("registered_name") not in (None, name):
        return False
    if module is not None and not (isinstance(module, str) and MODULES.fullmatch(module)):
        return False
    kinds = (keras.Operation, keras.initializers.Initializer, keras.regularizers.Regularizer,
             keras.constraints.Constraint, keras.DTypePolicy)  # fmt: skip
    places = (import_module(place) for place in (PLACES if module is None else (module,)) if find_spec(place))
    classes = (getattr(place, name, None) for place in places)
    return any(inspect.isclass(found) and issubclass(found, kinds) for found in classes)
