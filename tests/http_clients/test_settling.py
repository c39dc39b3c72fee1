"""A body says what a request really cost, as it passes, and is otherwise left alone."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import sys
import threading
import zlib
from contextlib import closing

import brotli
import pytest
import zstandard
from http_callers import SECONDS, Aiohttp
from stub_api import Reply, anthropic_stream, openai_stream

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import total_tokens
from rate_limiter.http.decoding import decoder_for
from rate_limiter.http.tail import TAIL, Tail
from rate_limiter.sqlite import SQLiteTokenBucket
from rate_limiter.testing import ManualClock

USED = json.dumps({"usage": {"total_tokens": 42}}).encode()
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATED = RAW.compress(USED) + RAW.flush()

SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"  # a frame of zstd that holds something else


@pytest.fixture
def bucket():
    return TokenBucket(capacity=1000, tokens_per_second=1, clock=ManualClock(auto_advance=True))


def by_tokens(response, tail):
    return total_tokens(tail)


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        ({}, (USED,)),
        ({"Content-Length": str(len(USED))}, (USED,)),
        ({}, (USED[:5], USED[5:])),
        ({"Content-Encoding": "gzip"}, (gzip.compress(USED),)),
        ({"Content-Encoding": "gzip"}, tuple(bytes([b]) for b in gzip.compress(USED))),
        ({"Content-Encoding": "deflate"}, (zlib.compress(USED),)),
        ({"Content-Encoding": "br"}, (brotli.compress(USED),)),
        ({"Content-Type": "text/event-stream"}, openai_stream().chunks),
        (
            {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"},
            (gzip.compress(b"".join(anthropic_stream().chunks)),),
        ),
    ],
)
def test_read_body_settles_for_what_it_says(caller, api, url, bucket, headers, chunks):  # noqa: PLR0917
    """A body of any encoding, whole or as a stream, is decoded for `settle`; so is the caller's."""
    api.replies += [Reply(headers=headers, chunks=chunks)] * 2
    with caller.session(RateLimiter(bucket), cost=100, settle=by_tokens) as client:
        body = client.send("GET", url).body
        assert bucket.available_tokens == 1000 - 42
        assert b"".join(client.read_some(url)) == body
    assert total_tokens(body) == 42
    assert bucket.available_tokens == 1000 - 84


@pytest.mark.parametrize("used", [None, {"tokens": None}, {"tokens": 150}, {"tokens": 0}])
def test_return_none_leaves_the_estimate(caller, api, url, used):
    """None leaves everything as estimated, or one bucket of a group."""
    clock = ManualClock()
    tokens = TokenBucket(1000, 1, clock=clock)
    group = BucketGroup(requests=TokenBucket(10, 1, clock=clock), tokens=tokens)
    limiter = RateLimiter(group)
    with caller.session(
        limiter, cost={"requests": 1, "tokens": 100}, settle=lambda *_: used
    ) as client:
        client.send("GET", url)
    amount = None if used is None else used["tokens"]
    assert tokens.available_tokens == 1000 - (100 if amount is None else amount)
    assert group.buckets["requests"].available_tokens == 9


def test_read_no_json_leaves_the_estimate(caller, api, url, bucket):
    """A body that is not JSON, or that there is not, says nothing."""
    api.replies += [Reply(502, chunks=(b"<html>",)), Reply(204, chunks=()), Reply()]
    with caller.session(RateLimiter(bucket), cost=100, settle=by_tokens) as client:
        assert client.send("GET", url).body == b"<html>"
        client.send("GET", url)
        client.send("HEAD", url)
    assert bucket.available_tokens == 700


def test_settle_gets_response_and_tail(caller, api, url, bucket):
    """`settle` gets the library's response, and no more than the last 64 KiB of the body."""
    found = []
    body = b"x" * 300_000 + USED
    api.replies.append(Reply(200, {"X-Name": "value"}, (body[:200_000], body[200_000:])))
    settle = lambda response, tail: found.append((response.headers["x-name"], tail))  # noqa: E731
    with caller.session(RateLimiter(bucket), settle=settle) as client:
        assert client.send("GET", url).body == body
    assert found == [("value", body[-TAIL:])]


def test_read_stream_passes_each_piece_at_once(caller, api, url, bucket):
    """A piece reaches the reader before the server has sent the next, and settles at the end."""
    gate = threading.Event()
    api.replies.append(Reply(chunks=(b"data: 1\n\n", USED), gate=gate))
    with caller.session(RateLimiter(bucket), cost=100, settle=by_tokens) as client:
        pieces = client.read_some(url, between=gate.set)
    assert pieces == [b"data: 1\n\n", USED]
    assert bucket.available_tokens == 1000 - 42


def test_leave_stream_settles_for_what_has_passed(caller, api, url, bucket):
    """A reader that leaves after the event that says it, as SDKs do, settles all the same."""
    gate = threading.Event()
    api.replies.append(Reply(chunks=(USED, b"data: [DONE]\n\n"), gate=gate))
    with caller.session(RateLimiter(bucket), cost=100, settle=by_tokens) as client:
        assert client.read_some(url, most=1) == [USED]
        gate.set()
    assert bucket.available_tokens == 1000 - 42


def test_leave_half_a_body_leaves_the_estimate(caller, api, url, bucket):
    """P43: An error that `settle` makes of half a body is not the reader's."""
    gate = threading.Event()
    half = (USED[:9], USED[9:])
    api.replies.append(Reply(chunks=half, gate=gate))
    settle = lambda response, tail: json.loads(tail)["usage"]  # noqa: E731
    with caller.session(RateLimiter(bucket), cost=100, settle=settle) as client:
        assert client.read_some(url, most=1) == [USED[:9]]
        gate.set()
    assert bucket.available_tokens == 900


@pytest.mark.parametrize("used", [-1, "1", {"tokens": 1}, float("nan"), True])
def test_leave_a_body_with_nonsense_leaves_the_estimate(caller, api, url, bucket, used):
    """P43: What `settle` says of half a body may make no sense: the reader sees its own error."""
    gate = threading.Event()
    api.replies.append(Reply(chunks=(USED, b" "), gate=gate))

    def fail():
        gate.set()
        raise LookupError("the reader's own")

    settling = caller.session(RateLimiter(bucket), cost=100, settle=lambda *_: used)
    with settling as client, pytest.raises(LookupError, match="the reader's own"):
        client.read_some(url, between=fail)
    assert bucket.available_tokens == 900


def test_lose_connection_in_a_body_stays_charged(caller, api, url, bucket):
    """P43: A body that breaks off raises the library's error, and is charged as estimated."""
    api.replies += [Reply(chunks=(USED,), broken=True)] * 2
    with caller.session(RateLimiter(bucket), cost=100, settle=by_tokens) as client:
        with pytest.raises(caller.broken):
            client.send("GET", url)
        with pytest.raises(caller.broken):
            client.read_some(url)
    assert bucket.available_tokens == 800


def test_cancel_a_read_leaves_the_estimate(awaiting_caller, api, url, bucket):
    """P43: A task that is cancelled in the middle of a body has paid what was estimated."""
    gate = threading.Event()
    api.replies.append(Reply(chunks=(USED, b" "), gate=gate))
    read = threading.Event()

    async def read_all(client):
        async for _ in client.pieces_async(url):
            read.set()

    async def main(client):
        task = asyncio.create_task(read_all(client))
        await asyncio.to_thread(read.wait)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    settle = lambda *_: pytest.fail("called")  # noqa: E731
    with awaiting_caller.session(RateLimiter(bucket), cost=100, settle=settle) as client:
        client.runner.run(main(client))
    gate.set()
    assert bucket.available_tokens == 900


def test_receive_what_is_not_as_encoded_stays_charged(caller, api, url, bucket):
    """P43: A body that cannot be decoded raises what it raises, and is charged as estimated."""
    api.replies.append(Reply(headers={"Content-Encoding": "gzip"}, chunks=(b"no gzip at all",)))
    settling = caller.session(RateLimiter(bucket), cost=100, settle=by_tokens)
    with settling as client, pytest.raises(Exception, match=r"(?i)decod|compress|header"):
        client.send("GET", url)
    assert bucket.available_tokens == 900


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(USED)),
        ("x-gzip", gzip.compress(USED)),
        ("gzip", gzip.compress(USED[:7]) + gzip.compress(USED[7:])),
        ("deflate", zlib.compress(USED)),
        ("deflate", RAW_DEFLATED),
        ("br", brotli.compress(USED)),
        ("gzip", gzip.compress(USED) + bytes(9)),
        ("deflate", zlib.compress(USED) + b"more"),
        ("zstd", zstandard.compress(USED)),
        ("zstd", zstandard.compress(USED[:7]) + zstandard.compress(USED[7:])),
        ("zstd", b"".join(zstandard.compress(bytes([byte])) for byte in USED)),
        ("zstd", SKIPPED + zstandard.compress(USED) + SKIPPED),
        ("gzip, br", brotli.compress(gzip.compress(USED))),
        (" GZIP , identity", gzip.compress(USED)),
        ("", USED),
        ("identity", USED),
        ("compress", USED),
        ("gzip, compress", USED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # gzip writes the second into data
)
def test_keep_tail_decodes_what_is_known(encoding, data):
    """Each encoding is undone, in any pieces; what nobody knows is kept as it comes."""
    for size in (1, 3, len(data)):
        tail = Tail(encoding)
        for start in range(0, len(data), size):
            tail.feed(data[start : start + size])
        assert tail.bytes() == USED


def test_keep_tail_of_a_bomb_takes_little_memory():
    """A small body that decodes to a large one is decoded piece by piece."""
    compressed = gzip.compress(bytes(50_000_000) + USED)
    longest = max(len(piece) for piece in decoder_for("gzip")(compressed))
    assert longest <= 2**16
    tail = Tail("gzip")
    tail.feed(compressed)
    assert tail.bytes() == (bytes(TAIL) + USED)[-TAIL:]


def test_keep_tail_without_a_library_keeps_what_comes(monkeypatch):
    """Where no library is installed for an encoding, it is one that nobody knows."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, None)
    assert decoder_for("br") is None


def test_settle_in_a_file_lets_the_loop_go_on(awaiting_caller, api, url, tmp_path):
    """P16, P43: A client that awaits settles by await, also while another program has the file."""
    path, gate = tmp_path / "limits.db", threading.Event()
    limiter = RateLimiter(SQLiteTokenBucket(path, "api", 1000, 0.001))
    api.replies.append(Reply(chunks=(USED[:1], USED[1:]), gate=gate))

    async def main(client, other):
        reading = asyncio.create_task(all_of(client.pieces_async(url)))
        while not api.arrived.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        other.execute("BEGIN IMMEDIATE")
        gate.set()
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert not reading.done()
        other.execute("ROLLBACK")
        return await reading

    settling = awaiting_caller.session(limiter, cost=100, settle=by_tokens)
    with settling as client, closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert client.runner.run(main(client, other)) == USED
    assert limiter.bucket.available_tokens == pytest.approx(1000 - 42, abs=0.1)


async def all_of(pieces):
    return b"".join([piece async for piece in pieces])


def test_release_a_response_settles_in_a_file_without_blocking(api, url, tmp_path):
    """P43: Where a plain function closes a response, a task settles what has to wait."""
    path = tmp_path / "limits.db"
    limiter = RateLimiter(SQLiteTokenBucket(path, "api", 1000, 0.001))
    api.replies.append(Reply(chunks=(USED, b" "), gate=(gate := threading.Event())))

    async def main(client, other):
        async with client.client.get(url) as response:
            await response.content.readany()
            other.execute("BEGIN IMMEDIATE")
        gate.set()
        await asyncio.sleep(0.02)
        other.execute("ROLLBACK")
        async with asyncio.timeout(SECONDS):
            while limiter.bucket.available_tokens < 1000 - 43:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    settling = Aiohttp().session(limiter, cost=100, settle=by_tokens)
    with settling as client, closing(sqlite3.connect(path, isolation_level=None)) as other:
        client.runner.run(main(client, other))
