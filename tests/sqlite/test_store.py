"""What is kept in the file, and how it is asked."""

import os
import pathlib
import sqlite3
import threading

import pytest
from processes import close_files

from rate_limiter import BackendError, BucketGroup, KeyedRateLimiter, RateLimiter, RateLimitExceeded
from rate_limiter.sqlite import SQLiteTokenBucket


def test_take_from_a_new_file_gives_the_capacity(make_bucket, path):
    """P2: The first question makes the file, whose buckets are full."""
    bucket = make_bucket(3, 1)
    assert not path.exists()
    assert [bucket.allow() for _ in range(4)] == [True, True, True, False]
    assert path.exists()


def test_take_comes_back_at_the_rate(make_bucket, clock):
    """P3: Tokens come back at the rate, and a wait is told to the microsecond."""
    bucket = make_bucket(2, 4)
    assert bucket.allow(2)
    assert bucket.retry_after() == 0.25
    clock.advance(0.25)
    assert (bucket.allow(), bucket.allow()) == (True, False)


def test_keep_a_bucket_that_is_full_keeps_no_row(make_bucket, rows):
    """P24: What is given back to the last leaves no row behind."""
    bucket = make_bucket(3, 1)
    reservation = bucket.reserve(2)
    assert len(rows()) == 1
    reservation.cancel()
    assert rows() == []


def test_sweep_deletes_full_buckets_only(make_bucket, clock, rows):
    """P24: Memory follows keys in use, and a flood of keys frees nobody's bucket."""
    victim = make_bucket(1, 0.001, name="victim")
    assert victim.allow()
    for number in range(1500):
        assert make_bucket(1, 10, name=f"key {number}").allow()
        clock.advance(0.01)
    assert len(rows()) < 700
    assert not victim.allow()


def test_note_of_time_is_kept_once_a_minute(make_bucket, other):
    """P8: The last instant that was seen is noted, so that time never goes back."""
    bucket = make_bucket(clock=None)
    bucket.allow()
    noted = other().execute("SELECT instant FROM rate_limiter_seen").fetchone()[0]
    bucket.allow()
    assert other().execute("SELECT instant FROM rate_limiter_seen").fetchone()[0] == noted > 0


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a ", "A", "a\n", "a\0", "\0a"],
        ["'; DROP TABLE rate_limiter_buckets; --", '"', "%", "_", "?", ":name"],
        [b"\xff", b"\xfe\x00", b"\x00", "\ud800", "é", "e\u0301"],
    ],
)
def test_name_is_data(make_bucket, names, is_whole):
    """P33: Quotes, NUL and any bytes are names; distinct names are distinct buckets."""
    buckets = [make_bucket(1, 0.001, name=name) for name in names]
    assert [bucket.allow() for bucket in buckets] == [True] * len(names)
    assert [bucket.allow() for bucket in buckets] == [False] * len(names)
    assert is_whole()


def test_name_as_text_and_as_bytes_is_one_bucket(make_bucket):
    """P33: A name is its bytes."""
    assert make_bucket(1, 0.001, name="é").allow()
    assert not make_bucket(1, 0.001, name="é".encode()).allow()


def test_name_stays_out_of_what_is_shown(make_bucket, path):
    """P26: Neither a name nor the path is in a repr or an error."""
    bucket = make_bucket(name="secret")
    bucket.allow()
    path.write_bytes(b"no database" * 100)
    path.with_name("limits.db-wal").unlink()
    close_files()
    fresh = make_bucket(name="secret")
    with pytest.raises(BackendError) as caught:
        fresh.allow()
    for text in (repr(bucket), str(caught.value)):
        assert "secret" not in text
        assert "limits" not in text


def test_group_takes_from_all_or_none(make_bucket):
    """P7: A group in a file is one question, and one transaction."""
    wide, narrow = make_bucket(5, 1, name="wide"), make_bucket(2, 0.5, name="narrow")
    group = BucketGroup(wide=wide, narrow=narrow)
    assert [group.allow() for _ in range(3)] == [True, True, False]
    assert wide.available_tokens == 3.0
    with pytest.raises(RateLimitExceeded) as caught, RateLimiter(group, block=False).acquire():
        pytest.fail("it was admitted")
    assert caught.value.refused_by == "narrow"
    assert caught.value.retry_after == 2.0


def test_buckets_with_different_timeouts_are_one_store(make_bucket):
    """P7: How long a bucket waits for others is its own; the file is everybody's."""
    patient, hasty = make_bucket(2, 1, name="a"), make_bucket(1, 1, name="b", busy_timeout=0.1)
    group = BucketGroup(patient, hasty)
    assert [group.allow(), group.allow()] == [True, False]
    assert patient.available_tokens == 1.0


def test_group_of_two_files_is_refused(make_bucket, tmp_path, clock):
    """P7: Two files cannot change in one step."""
    other = SQLiteTokenBucket(tmp_path / "other.db", "b", 1, 1, clock=clock)
    with pytest.raises(ValueError, match="one store"):
        BucketGroup(make_bucket(), other)


def test_group_of_many_writes_sweeps(make_bucket, clock, rows):
    """P24: Decisions of groups delete full buckets as well."""
    make_bucket(1, 1000, name="gone").allow()
    group = BucketGroup(make_bucket(1000, 1, name="a"), make_bucket(1000, 1, name="b"))
    clock.advance(1)
    for _ in range(300):
        assert group.allow()
    assert {key for key, _ in rows()} == {b"a", b"b"}


def test_keyed_limiter_has_a_bucket_for_each_key(make_bucket):
    """P25: Keys are names in the file."""
    limiters = KeyedRateLimiter(lambda key: make_bucket(1, 0.001, name=f"user:{key}"), block=False)
    for key in ("ann", "ben"):
        with limiters[key].acquire():
            pass
    with pytest.raises(RateLimitExceeded), limiters["ann"].acquire():
        pytest.fail("it was admitted")


def test_pause_is_shared_and_resumed(make_bucket, clock):
    """P36: A pause holds for all who share the file, until it ends or somebody resumes."""
    one, two = make_bucket(), make_bucket()
    one.pause(60)
    assert not two.allow()
    assert two.level.paused_for == 60.0
    two.resume()
    assert (one.allow(), one.allow()) == (True, False)


def test_configure_keeps_the_level(make_bucket):
    """P9: A changed limit keeps what is there."""
    bucket = make_bucket(1000, 1000 / 3600)
    assert bucket.allow(1000)
    bucket.configure(10, 10 / 3600)
    assert bucket.retry_after() == 360.0


def test_settle_and_refund_correct_the_bucket(make_bucket):
    """P9: A permit is settled in the file."""
    bucket = make_bucket(10, 0.001)
    with RateLimiter(bucket).acquire(4) as permit:
        permit.settle(6)
    assert bucket.available_tokens == 4.0
    bucket.refund(2)
    assert bucket.available_tokens == 6.0


def test_rate_in_words_makes_a_bucket(path, clock):
    """P23: A rate in words is a capacity and a rate."""
    bucket = SQLiteTokenBucket.from_rate(path, "words", "30/minute", clock=clock)
    assert (bucket.capacity, bucket.tokens_per_second) == (30.0, 0.5)
    assert SQLiteTokenBucket.from_rate(path, "words", "30/minute", 5, clock=clock).capacity == 5.0


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_path_of_any_kind_is_the_same_file(path, clock, kind, monkeypatch):
    """P1: One file is one store, however it is named, and wherever the process goes afterwards."""
    monkeypatch.chdir(path.parent)
    relative = SQLiteTokenBucket(kind("limits.db"), "b", 1, 0.001, clock=clock)
    monkeypatch.chdir("/")
    assert relative.allow()
    assert not SQLiteTokenBucket(path, "b", 1, 0.001, clock=clock).allow()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((None, "b", 1, 1), TypeError, "path must be a path"),
        ((3, "b", 1, 1), TypeError, "path must be a path"),
        (("", "b", 1, 1), ValueError, "empty"),
        (("a\0b", "b", 1, 1), ValueError, "NUL"),
        ((":memory:", "b", 1, 1), ValueError, "TokenBucket"),
        (("f", "", 1, 1), ValueError, "name"),
        (("f", 5, 1, 1), TypeError, "name"),
        (("f", "b", 0, 1), ValueError, "capacity"),
        (("f", "b", 1, float("nan")), ValueError, "tokens_per_second"),
    ],
)
def test_make_with_bad_input_says_what_is_wrong(arguments, error, text):
    """P22: What cannot be is refused before a file is touched."""
    with pytest.raises(error, match=text):
        SQLiteTokenBucket(*arguments)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 3601])
def test_make_with_a_bad_timeout_is_refused(path, timeout):
    """P22: A timeout is a number of seconds above 0, and no day."""
    with pytest.raises(ValueError, match="busy_timeout"):
        SQLiteTokenBucket(path, "b", 1, 1, busy_timeout=timeout)


def test_value_of_another_kind_is_a_failure_of_that_bucket(make_bucket, other):
    """P33: What is no value of a bucket fails for its name alone."""
    bucket, fine = make_bucket(name="bad"), make_bucket(name="fine")
    assert bucket.allow()
    for value in ("nonsense", b"\xff\xfe", "1" * 17, "\u0661" * 16):
        other().execute("UPDATE rate_limiter_buckets SET value = ?", (value,))
        with pytest.raises(BackendError, match="not that of a bucket"):
            make_bucket(name="bad").allow()
        with pytest.raises(BackendError, match="not that of a bucket"):
            BucketGroup(make_bucket(name="bad"), fine).allow()
    other().execute("UPDATE rate_limiter_buckets SET value = CAST(x'ff' AS TEXT)")
    with pytest.raises(BackendError, match="not that of a bucket"):
        make_bucket(name="bad").allow()
    assert fine.allow()


def test_log_is_copied_and_begins_anew(make_bucket, path):
    """P24: The log beside the file does not grow with the number of decisions."""
    bucket = make_bucket(10_000, 1)
    for _ in range(2100):
        bucket.allow()
    assert path.with_name("limits.db-wal").stat().st_size < 1100 * 4200


def test_log_of_processes_that_end_early_is_copied(make_bucket, path, other):
    """P24: Nor does it grow with the number of processes, beside one that keeps the file open."""
    bucket, log, sizes = make_bucket(10_000, 1), path.with_name("limits.db-wal"), []
    assert bucket.allow()
    other().execute("SELECT * FROM rate_limiter_seen").fetchall()
    for _ in range(60):
        close_files()
        assert all(bucket.allow() for _ in range(50))
        sizes.append(log.stat().st_size)
    assert (8 << 20) - 100 * 4200 < max(sizes) < (8 << 20) + 100 * 4200
    assert sizes[-1] < max(sizes)


@pytest.fixture
def long_log(make_bucket, path, monkeypatch):
    """Let a log be long that has more than some writes; return a bucket, and its size."""
    monkeypatch.setattr("rate_limiter.sqlite.database._LONG", 10_000)
    bucket = make_bucket(10_000, 1)
    assert bucket.allow()
    log = path.with_name("limits.db-wal")
    return bucket, lambda: log.stat().st_size


def test_log_that_is_long_ends_soon(long_log):
    """P24: However many processes write at once, one of them ends the log within a moment."""
    bucket, size = long_log
    assert all(bucket.allow() for _ in range(20))
    bucket._source._look_at = 0
    assert bucket.allow()
    assert size() < 10_000


def test_log_that_somebody_reads_ends_later(long_log, other):
    """P41: Another program that reads from the log holds up nobody."""
    bucket, size = long_log
    reader = other()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rate_limiter_seen").fetchall()
    assert all(bucket.allow() for _ in range(20))
    bucket._source._look_at = 0
    assert bucket.allow()
    assert size() > 20 * 4096
    reader.execute("COMMIT")
    bucket._source._look_at = 0
    assert bucket.allow()
    assert size() < 10_000


def test_log_that_nobody_can_look_at_is_short(long_log, monkeypatch):
    """P41: Where there is no log to look at, there is none to end."""
    bucket, _ = long_log
    monkeypatch.setattr(bucket._source._database, "_path", "/nowhere/at all")
    assert not bucket._source._database.log_is_long()


def test_threads_share_one_bucket_exactly(make_bucket):
    """P18: Threads of a process take turns; each token is given once."""
    bucket, granted = make_bucket(100, 0.001), []

    def take():
        granted.extend(bucket.allow() for _ in range(40))

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 100
    assert len(granted) == 240


def test_store_that_nobody_uses_is_closed_in_the_end(path, clock, tmp_path):
    """P24: A file without a bucket stays open for the next one, and not for ever."""
    log = path.with_name("limits.db-wal")
    assert SQLiteTokenBucket(path, "b", 1, 1, clock=clock).allow()
    assert log.exists()
    for number in range(5):
        assert SQLiteTokenBucket(tmp_path / f"{number}.db", "b", 1, 1, clock=clock).allow()
    assert not log.exists()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM rate_limiter_buckets").fetchone() == (1,)
    connection.close()
