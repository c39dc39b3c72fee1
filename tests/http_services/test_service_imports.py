"""What importing a service's limit takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "django", "fastapi", "flask", "redis", "starlette", "werkzeug")


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("asgi", []),
        ("wsgi", []),
        ("fastapi", ["fastapi", "starlette"]),
    ],
)
def test_import_one_interface_loads_no_other(module, loaded):
    """The middleware needs no library, and the dependency its own alone."""
    script = (
        f"import sys, rate_limiter.http.{module}\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])\n"
        "print(sorted(name for name in sys.modules if name.startswith('rate_limiter.http.')))"
    )
    run = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603 - own code
    heavy, own = result.stdout.splitlines()
    found = set(heavy.split())
    if module == "fastapi":
        found.discard("asyncio")  # which it loads early or late, as it likes
    assert found == set(loaded)
    others = {"asgi": ["wsgi", "fastapi"], "wsgi": ["asgi", "fastapi"], "fastapi": ["wsgi"]}
    assert not [other for other in others[module] if f"'rate_limiter.http.{other}'" in own]
