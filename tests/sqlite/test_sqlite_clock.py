"""Time in a file: it is that of the machine, and never goes back."""

import time

import pytest
from processes import close_files

from rate_limiter.sqlite import SQLiteTokenBucket, clock, database
from rate_limiter.sqlite.clock import boot_of, start_of, wall_time

YEAR = 31_557_600 * 10**6


@pytest.fixture
def machine(monkeypatch):
    """Stand for a machine whose wall clock, uptime and start can be set."""

    class Machine:
        wall, up, boot = 50 * YEAR, 1_000_000, "first"

    monkeypatch.setattr(database, "wall_time", lambda: Machine.wall)
    monkeypatch.setattr(database, "uptime", lambda: Machine.up)
    monkeypatch.setattr("rate_limiter.sqlite.store.uptime_ns", lambda: Machine.up * 1000)
    monkeypatch.setattr(database, "boot_of", lambda: Machine.boot)
    return Machine


@pytest.fixture
def started(path):
    """Ask with a bucket of 10 at 1 a second that a process has just made, before any other."""

    def started():
        close_files()
        return SQLiteTokenBucket(path, "b", 10, 1)

    return started


def test_wall_clock_that_is_set_changes_nothing(machine, started):
    """P8: Once the file has noted when the machine started, nobody asks the wall clock."""
    bucket = started()
    assert bucket.allow(10)
    for wall in (0, 100 * YEAR):
        machine.wall = wall
        assert bucket.retry_after() == 1.0
        assert started().retry_after() == 1.0
    machine.up += 1_000_000
    assert bucket.allow()


@pytest.mark.parametrize("boot", ["second", ""])
def test_machine_that_starts_anew_goes_on(machine, started, boot):
    """P8: After a start of the machine, time goes on from the wall clock."""
    machine.boot = "first" if boot else ""
    assert started().allow(10)
    machine.boot, machine.up, machine.wall = boot, 0, machine.wall + 3_000_000
    assert started().retry_after() == 0.0
    assert started().available_tokens == 3.0


def test_wall_clock_that_is_late_at_a_start_mints_nothing(machine, started):
    """P8: A wall clock that has gone back leaves time where the file has noted it."""
    machine.up = 500_000_000
    assert started().allow(10)
    machine.boot, machine.up, machine.wall = "second", 0, 0
    assert started().retry_after() == 1.0
    machine.up += 1_000_000
    assert started().allow()


def test_wall_clock_that_is_early_at_a_start_costs_one_capacity(machine, started):
    """P8: A wall clock that is ahead fills the buckets once, and not again when it is right."""
    assert started().allow(10)
    machine.boot, machine.up, machine.wall = "second", 0, machine.wall + YEAR
    assert started().allow(10)
    machine.boot, machine.wall = "third", machine.wall - YEAR
    assert started().available_tokens == 0.0


def test_note_of_time_is_renewed_once_a_minute(machine, started, other):
    """P8: What is noted is never more than a minute old when somebody has written."""
    bucket = started()
    noted = []
    for _ in range(5):
        bucket.allow()
        noted += other().execute("SELECT instant FROM rate_limiter_seen").fetchone()
        machine.up += 20_000_000
    first = noted[0]
    assert noted == [first, first, first, first + 60_000_000, first + 60_000_000]


@pytest.mark.parametrize(
    ("wall", "seen", "start"), [(90, 50, 80), (30, 50, 40), (10**18, 50, 40), (0, 0, -10)]
)
def test_start_is_told_by_the_wall_clock_unless_that_is_wrong(wall, seen, start):
    """P8: Neither a clock that is late nor one in the year 30,000 is believed."""
    assert start_of(wall, 10, seen) == start


def test_boot_is_told_apart(tmp_path):
    """P8: A start of the machine has an identity, with that of the container's clock if any."""
    boot = tmp_path / "boot_id"
    assert boot_of(boot) == ""
    boot.write_text("abc\n")
    assert boot_of(boot, tmp_path / "missing") == "abc"
    (tmp_path / "time").symlink_to("time:[1]")
    assert boot_of(boot, tmp_path / "time") == "abc time:[1]"


def test_uptime_without_a_clock_of_its_own_is_monotonic(monkeypatch):
    """P8: Where the system has no such clock, Python's own does."""
    assert clock.clock_of_machine()() > 0
    monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    assert clock.clock_of_machine() is time.monotonic_ns


def test_wall_time_is_in_microseconds():
    """P8: Instants in a file are microseconds since 1970."""
    assert 1.7e15 < wall_time() < 9e15
