"""What every test shares."""

import gc
import os
import sys
import threading

import pytest
from hypothesis import settings

# The same examples on every machine and every run: a failure is a change in the code.
settings.register_profile("repeatable", database=None, deadline=None, derandomize=True)
settings.load_profile("repeatable")


# Hundreds of child processes import what one of them has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Run one worker more than there are cores, for a third of the time tests wait for servers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) + 1


def pytest_collection_modifyitems(items):
    """Leave out tests of fast paths where every call is a step."""
    from rate_limiter.memory.transaction import JOURNAL  # only once coverage is measured

    for item in items if JOURNAL.at_rest else ():
        if item.get_closest_marker("fast_path"):
            item.add_marker(pytest.mark.skip(reason="every call is a step on this interpreter"))


@pytest.fixture(autouse=True, scope="module")
def frozen_heap():
    """Keep the collector from going through thousands of tests and their reports time and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item):
    """Do as the mark `no_cover` says in the workers as well.

    There pytest-cov has begun to measure twice, and when it pauses one measure the other goes on.
    """
    if item.get_closest_marker("no_cover") is None or not item.config.pluginmanager.hasplugin(
        "_cov"
    ):
        return (yield)
    here, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(here)
        threading.settrace(threads)
