"""A real log: the one that Debian's package logstalgia has for an example.

It is not part of this repository. `.ci/run` fetches it. Elsewhere `apt-get install logstalgia`
does, or `EXAMPLE_LOG` names a copy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rate_limiter.simulate import main

PATH = Path(os.environ.get("EXAMPLE_LOG", "/usr/share/logstalgia/example.log"))


@pytest.fixture
def log():
    if not PATH.is_file() and not os.environ.get("CI"):
        pytest.skip(f"{PATH} is not there; install logstalgia, or set EXAMPLE_LOG")
    assert PATH.is_file(), f"{PATH} is not there, and in CI it has to be"
    return str(PATH)


@pytest.mark.parametrize(
    ("rates", "refused", "keys_hit"),
    [
        (["100/minute"], 0, 0),
        (["10/second"], 135, 21),
        (["20/minute"], 991, 39),
        (["20/minute", "100/hour"], 991, 39),
    ],
)
def test_simulate_real_log_refuses_what_it_is_known_to(rates, refused, keys_hit, log, capsys):
    """3,260 lines of 220 hosts are all read, and so many of so many hosts are refused."""
    options = [part for rate in rates for part in ("--rate", rate)]
    assert main(["simulate", log, "--key", "ip", *options, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["requests"], counts["keys"], counts["unreadable"]) == (3_260, 220, 0)
    assert (counts["refused"], counts["keys_hit"]) == (refused, keys_hit)


def test_simulate_real_log_with_waits_admits_all(log, capsys):
    """With waits the same requests are all admitted, the last of them late."""
    assert main(["simulate", log, "--rate", "20/minute", "--wait", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["refused"], counts["keys_hit"]) == (0, 39)
    assert counts["longest_wait"] > 60
