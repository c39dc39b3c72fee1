"""A second copy of the package in this process, with the other core."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import rate_limiter

FOLDER = Path(rate_limiter.__file__).parent


def load_copy(name, *, pure):
    """Load the package once more under another name, whose modules are all its own."""
    spec = importlib.util.spec_from_file_location(
        name, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    before = os.environ.get("RATE_LIMITER_PURE")
    os.environ["RATE_LIMITER_PURE"] = "1" if pure else "0"
    try:
        sys.modules[name] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
        for module in ("wrapping", "testing"):
            importlib.import_module(f"{name}.{module}")
    finally:
        if before is None:
            del os.environ["RATE_LIMITER_PURE"]
        else:
            os.environ["RATE_LIMITER_PURE"] = before
    return package
