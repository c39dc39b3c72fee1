"""Processes that share a file, by their own count; and some that are killed amid it (P1, P41)."""

import random
import signal
import struct
import time

from processes import Child, in_child

from rate_limiter.sqlite import SQLiteTokenBucket

KILLS = 40
STAMP = struct.Struct("d")  # when a token was got, by the machine's monotonic clock


def take(path, capacity, rate, goes_on):
    """Return what a process does: take what it can, and write down when it began to ask for it."""

    def take(write):
        bucket = SQLiteTokenBucket(path, "shared", capacity, rate)
        while goes_on():
            asked = time.monotonic()
            if bucket.allow():
                write(STAMP.pack(asked) + STAMP.pack(time.monotonic()))

    return take


def spans(children):
    """Return when each token was asked for, and when it was there."""
    read = b"".join(child.read() for child in children)
    whole = len(read) - len(read) % (2 * STAMP.size)
    stamps = [stamp for (stamp,) in STAMP.iter_unpack(read[:whole])]
    return sorted(zip(stamps[::2], stamps[1::2], strict=True))


def excess(spans, capacity, rate):
    """Return by how many tokens any window has more than its bound."""
    ends = [end for _, end in spans]
    return max(
        number - capacity - rate * (end - asked)
        for first, (asked, _) in enumerate(spans)
        for number, end in enumerate(sorted(ends[first:]), 1)
    )


def test_processes_share_one_limit_by_their_own_count(path):
    """P1: What 8 processes get in any window is what one bucket has to give, and all of that."""
    capacity, rate, until = 20, 50, time.monotonic() + 1.0
    children = [
        Child(take(path, capacity, rate, lambda: time.monotonic() < until)) for _ in range(8)
    ]
    assert [child.wait() for child in children] == [0] * 8
    granted = spans(children)
    assert excess(granted, capacity, rate) <= 0
    assert len(granted) > capacity


def test_process_that_is_killed_leaves_a_file_that_is_whole(path, is_whole):
    """P41: kill -9 at any moment costs nobody a token, and nothing breaks."""
    capacity, rate, over = 20, 200, path.with_name("over")
    pick, ended = random.Random(7), []  # noqa: S311 - no secret
    work = take(path, capacity, rate, lambda: not over.exists())
    children = [Child(work) for _ in range(4)]
    for _ in range(KILLS):
        time.sleep(pick.uniform(0.0, 0.05))
        ended.append(children.pop(pick.randrange(4)))
        ended[-1].kill(signal.SIGKILL)
        ended[-1].wait()
        children.append(Child(work))
    over.touch()
    assert [child.wait() for child in children] == [0] * 4
    granted = spans([*ended, *children])
    assert excess(granted, capacity, rate) <= 0
    assert len(granted) > capacity
    assert is_whole()


def test_program_that_shares_the_file_has_a_limit_of_its_own(path, run_script):
    """P33: Two programs that know nothing of each other may use one file, under their own names."""
    bucket = SQLiteTokenBucket(path, "mine", 2, 0.001)
    assert bucket.allow(2)
    code = """
        from rate_limiter.sqlite import SQLiteTokenBucket
        for name in ("mine", "theirs", b"theirs\\0", "it's"):
            print(SQLiteTokenBucket(path, name, 2, 0.001).allow(2))
    """
    assert run_script(code) == ["False", "True", "True", "True"]
    assert not bucket.allow()


def test_processes_with_different_limits_hold_each_to_its_own(path):
    """P9: A limit that a deploy has changed holds for those who have it; the level is shared."""
    old, new = SQLiteTokenBucket(path, "b", 100, 0.001), SQLiteTokenBucket(path, "b", 10, 0.001)
    assert old.allow(95)
    assert in_child(lambda write: write(b"%d" % new.available_tokens)) == b"5"


def test_process_waits_for_what_another_has_taken(path):
    """P10: Callers of several processes wait in one line."""
    bucket, began = SQLiteTokenBucket(path, "b", 1, 20), time.monotonic()
    assert bucket.allow()

    def wait(write):
        SQLiteTokenBucket(path, "b", 1, 20).wait()
        write(STAMP.pack(time.monotonic()))

    children = [Child(wait) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    ends = sorted(stamp for child in children for (stamp,) in STAMP.iter_unpack(child.read()))
    assert all(end - began >= 0.05 * number for number, end in enumerate(ends, 1))
