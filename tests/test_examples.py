"""The examples run, and the server of the quickstart really refuses."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from servers import Server, commandstats, require_server

from rate_limiter.testing import ManualClock

EXAMPLES = Path(__file__).parents[1] / "examples"
ON_SERVER = "shared_between_processes.py"

# What each example prints, in this order, however busy the machine is.
OUTPUTS = {
    "aiohttp_crawler.py": ["{'127.0.0.1': 10, 'localhost': 21}"],
    "anthropic_client.py": ["20 of 20 calls answered", "model tokens used"],
    "httpx_client.py": ["40 of 40 pages, of 2 hosts"],
    "openai_client.py": [
        "unlimited: ",
        "of 30 calls failed",
        "limited: 0 of 30 calls failed",
        "model tokens used",
    ],
    "requests_session.py": [
        "ann: 200 at once",
        "ann: 403 at once",
        "ben: 200",
        "ann: 200 after a pause",
    ],
    "llm_client.py": ["calls that met a 429: ", " without limits, 0 with them"],
    "metrics.py": [
        "WARNING limiter fetch begins a wait of 0.",
        "users: refused, again in 30 s",
        'rate_limiter_acquisitions_total{limiter="fetch",result="admitted"} 8.0',
        'rate_limiter_acquisitions_total{limiter="users",result="admitted"} 3.0',
        'rate_limiter_acquisitions_total{limiter="users",result="refused"} 1.0',
        'rate_limiter_wait_duration_seconds_count{limiter="fetch"} ',
        'rate_limiter_waiting{limiter="fetch"} 0.0',
    ],
    "per_user.py": [
        "Mal: 5 answered, 995 refused",
        "Ann /export: 200",
        "'180'",
        "3 users",
        "Ben says",
    ],
    "reserve_for_later.py": [
        "report in 100 s",
        "reminder: not",
        "report in 40 s",
        "report in 30 s",
    ],
    "server_retry_after.py": [
        "200",
        "429, all pause for 1 s",
        "200",
        "no request arrived in the 1 s",
    ],
    "async_tasks.py": ["page 1, 1 tokens, waited 0.0 s", "page 4, 4 tokens", "ping", "gave up"],
    "decorate_function.py": ["GNU", "report for Ben", "no report for Cem: try again in"],
    "fastapi_service.py": [
        'Ann /: 200, "clients";r=99;t=1',
        'Ann /search: 200, "2/minute";r=1;t=30, "50/day";r=49;t=1728, "clients";r=',
        "Ann /search: 200",
        'Ann /search: 429, "2/minute";r=0;t=',
        "; wait ",
        'Ben /search: 200, "2/minute";r=1;t=30, "50/day";r=49;t=1728, "clients";r=',
    ],
    "flask_service.py": [
        "sesame: 200, welcome",
        "1234: 401, no",
        "sesame: 200, welcome",
        "password: 401, no",
        "qwerty: 401, no",
        "letmein: 429, Too many requests; try again in",
        "sesame: 429, Too many requests; try again in",
    ],
    "method_costs.py": ["Ann wrote to 7", "Ann may not", "Ann wrote to 3", "Ben wrote to 7"],
    "quickstart.py": ["unlimited", "decorated", "with-block", "tasks", "unlimited: "],
    "several_workers.py": ["worker  served  refused", "all", "could be served", "the limit held"],
    "shared_between_processes.py": ["process  asked   got", "all", "of at most", "the limit held"],
    "testing_your_code.py": ["passed: test_send", "passed: test_answer", "two minutes of waiting"],
    "waiting_progress.py": [
        "waiting: |",
        "1 of 12 callers",
        "0 of 12 callers",
        "12 pages, and nobody waits any more: 0 callers",
    ],
    "with_block.py": ["copied 8 pages after 0.00 s", "9 pages would take", "copied the last page"],
}


def run(name: str, *arguments: str) -> str:
    """Run an example as a user does; return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "REDIS_URL"},
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Future[str]]]:
    """Run all examples, some at a time, for they mostly sleep."""
    with ThreadPoolExecutor(4) as pool:
        yield {name: pool.submit(run, name) for name in OUTPUTS}


def marked(name: str) -> Any:
    """Return an example as a parameter; the one that needs a server is marked so."""
    return pytest.param(name, marks=[pytest.mark.server] if name == ON_SERVER else [])


@pytest.mark.parametrize("name", [marked(path.name) for path in sorted(EXAMPLES.glob("*.py"))])
def test_run_example_prints_what_it_shows(name: str, running: dict[str, Future[str]]) -> None:
    """Each example ends well, warns of nothing, and prints what it is there to show."""
    if name == ON_SERVER:
        require_server()
    printed, position = running[name].result(), 0
    for piece in OUTPUTS[name]:
        assert piece in printed[position:], printed
        position = printed.index(piece, position) + len(piece)
    if name == "quickstart.py":
        assert printed.splitlines()[-1] == "limited: 0 of 24 requests met a 429"


def test_find_examples_finds_each_that_is_expected() -> None:
    """No example is missing."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(OUTPUTS)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quickstart() -> ModuleType:
    return load("quickstart")


@pytest.fixture
def shared() -> ModuleType:
    return load("shared_between_processes")


def test_admit_unlimited_calls_refuses_above_the_capacity(quickstart: ModuleType) -> None:
    """Without a limiter the server admits what it advertises and refuses the rest."""
    limit = quickstart.ServerLimit(capacity=20, rate=20, clock=lambda: 0.0)
    paths = quickstart.PATHS * 2
    delays = [limit.admit(quickstart.COSTS[path]) for path in paths]
    admitted = [path for path, delay in zip(paths, delays, strict=True) if not delay]
    assert sum(quickstart.COSTS[path] for path in admitted) == 20
    assert len(admitted) < len(delays)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ([(0, 20), (0, 1)], [0, 0.05]),
        ([(0, 20), (0, 4), (0.125, 4), (0.25, 4)], [0, 0.2, 0.075, 0]),
        ([(0, 16), (0.5, 14), (0.5, 1)], [0, 0, 0.05]),
        ([(0, 1), (60, 20), (60, 1)], [0, 0, 0.05]),
        ([(0, 21)], [0.05]),
    ],
)
def test_admit_over_time_keeps_every_window(
    quickstart: ModuleType, schedule: list[tuple[float, float]], expected: list[float]
) -> None:
    """P1: The server's own count admits capacity + rate * T in every window, and says when."""
    now = 0.0
    limit = quickstart.ServerLimit(capacity=20, rate=20, clock=lambda: now)
    for (now, cost), delay in zip(schedule, expected, strict=True):  # noqa: B007 - the clock reads it
        assert limit.admit(cost) == pytest.approx(delay)


def test_fetch_behind_the_limiter_is_never_refused(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: What the client's limiter lets through, the server's own count admits."""
    with ManualClock(auto_advance=True).under(quickstart.limiter) as clock:
        limit = quickstart.ServerLimit(5, quickstart.RATE, clock=lambda: clock.elapsed)
        monkeypatch.setattr(
            quickstart, "fetch_unlimited", lambda url: limit.admit(quickstart.cost_of(url))
        )
        delays = [
            fetch(path)
            for fetch in (quickstart.fetch_decorated, quickstart.fetch_in_block)
            for path in quickstart.PATHS
        ]
    assert max(delays) < 1e-9
    assert clock.elapsed == pytest.approx((2 * 14 - 5) / quickstart.RATE)


@pytest.mark.server
def test_share_between_processes_keeps_the_bound() -> None:
    """P1: What four processes get together is what one bucket has to give, and nearly all of it."""
    with Server() as server:
        lines = run(ON_SERVER, server.url).splitlines()
        calls = commandstats(server.client())["evalsha"]
    rows = [[int(number) for number in line.split()] for line in lines[1:5]]
    summary = re.fullmatch(r" *all +(\d+) +(\d+)  of at most (\d+\.\d)", lines[5])
    asked, got, most = int(summary[1]), int(summary[2]), float(summary[3])
    assert [process for process, _, _ in rows] == [1, 2, 3, 4]
    assert sum(row[1] for row in rows) == asked <= calls
    assert sum(row[2] for row in rows) == got < asked
    assert 40 < got <= most
    assert min(row[1] for row in rows) > 0


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["redis://here"], {}),
        ([], {"REDIS_URL": "redis://here"}),
        (["redis://here"], {"REDIS_URL": "redis://there"}),
    ],
)
def test_share_with_an_address_asks_there(
    shared: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environment: dict[str, str],
) -> None:
    """The address given is asked; and more than one bucket has to give is called so."""
    asked = []
    monkeypatch.setattr(sys, "argv", ["shared_between_processes.py", *arguments])
    monkeypatch.delenv("REDIS_URL", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(
        shared, "ask_from_all", lambda url: asked.append(url) or [(50, 23, 7.0, 8.0)] * 4
    )
    assert shared.main() == 1
    assert asked == ["redis://here"]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "    all    200    92  of at most 90.0",
        "the limit was exceeded",
    ]


def test_share_without_a_server_says_how_to_get_one(
    shared: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is neither an address nor a server, the example ends with advice."""
    monkeypatch.setattr(sys, "argv", ["shared_between_processes.py"])
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(shared.shutil, "which", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="set REDIS_URL, apt install redis-server, or pip install"):
        shared.main()
