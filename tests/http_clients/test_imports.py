"""Each HTTP library is imported by the module that is for it, and by no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARIES = ["httpx", "httpx2", "requests", "aiohttp", "redis", "trio", "brotli"]


@pytest.mark.parametrize(
    ("module", "loaded"),
    [("http", []), *((f"http.{name}", [name]) for name in LIBRARIES[:4])],
)
def test_import_integration_imports_no_other(module, loaded):
    """Importing one integration loads its library and no other; `http` itself loads none."""
    script = (
        f"import sys, rate_limiter.{module}; "
        f"print([name for name in {LIBRARIES} if name in sys.modules])"
    )
    run = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(  # noqa: S603 - our own code
        run, capture_output=True, text=True, check=True, timeout=50
    )
    found = result.stdout.strip()
    # aiohttp and httpx2 look for brotli by themselves
    assert found.replace(", 'brotli'", "").replace("'brotli'", "") == str(loaded)
