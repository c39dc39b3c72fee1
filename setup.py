"""Build the compiled core, where that can be; all else is in pyproject.toml.

pyproject.toml could name the extension (`tool.setuptools.ext-modules`, which is experimental),
but not say when it is to be left out and when it must not be. RATE_LIMITER_CORE in the environment
says:

- nothing: build it if there is a compiler; without one, or if that fails, Python serves;
- required: fail if it cannot be built, as for wheels and in the tests;
- none: leave it out.
"""

import os
import platform
import sysconfig
import zlib
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src/rate_limiter/_core.c")
WANTED = os.environ.get("RATE_LIMITER_CORE", "")
SUPPORTED = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)
CORE = Extension(
    "rate_limiter._core",
    sources=[SOURCE.as_posix()],
    define_macros=[("SOURCE", f"{zlib.crc32(SOURCE.read_bytes()) >> 1}L")],  # to be told by a test
    depends=["setup.py"],
    optional=WANTED != "required",
)

if WANTED == "required" and not SUPPORTED:
    raise SystemExit("RATE_LIMITER_CORE=required, but this interpreter cannot have a compiled core")
setup(ext_modules=[CORE] if SUPPORTED and WANTED != "none" else [])
