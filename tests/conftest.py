"""What every test can ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
ALL = bool(os.environ.get("GRAPHVIZ_NETS_TEST_ALL"))
CHROMIUM = "/usr/bin/chromium"

# Modules of torch's that are drawn: without it, there is nothing to look for doctests in.
collect_ignore = [] if find_spec("torch") is not None else ["cases/torch_modules.py"]

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Return the folder of our own model files."""
    return ROOT / "fixtures"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real models beside the checkout."""
    folder = ROOT.parent / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("needs the real models in ../shared/models")
    return folder


def needed(name: str) -> ModuleType:
    """Return a module of an optional package.

    Where it is not installed the test is skipped, but fails under ``scripts/test --all``, which installs them all.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as fault:
        if fault.name is None or not f"{name}.".startswith(f"{fault.name}."):
            raise
        if ALL:
            pytest.fail(f"{name} is missing, though scripts/test --all installs it")
        return pytest.skip(f"needs {name}: scripts/test --all")


@pytest.fixture(scope="session")
def need() -> Callable[[str], ModuleType]:
    """Return `needed`."""
    return needed


@pytest.fixture(scope="module")
def browser(need: Callable[[str], ModuleType]) -> Iterator[Any]:
    """Return Debian's chromium, started."""
    playwright = need("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        need("chromium")  # says so: scripts/test --all installs it by apt-get
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()
