"""What every test shares."""

import gc
import os

import pytest
from hypothesis import settings

# The same examples on every machine and every run: a failure is a change in the code.
settings.register_profile("repeatable", database=None, deadline=None, derandomize=True)
settings.load_profile("repeatable")


# Hundreds of child processes import what one of them has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True, scope="module")
def frozen_heap():
    """Keep the collector from going through thousands of tests and their reports time and again."""
    gc.collect()
    gc.freeze()
