"""What is particular to the middleware of aiohttp."""

from __future__ import annotations

import asyncio
import gzip
import threading

import aiohttp
import pytest
from servers import Server
from stub_api import Reply
from test_httpx_transports import with_bucket

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http.aiohttp import _begin, rate_limit_middleware
from rate_limiter.testing import ManualClock

BODY = b"line 1\nline 2\n"


@pytest.fixture
def bucket():
    return TokenBucket(capacity=100, tokens_per_second=1, clock=ManualClock(auto_advance=True))


def session_with(limiter, *, session_options=None, **options):
    """Return a session with the middleware."""
    middleware = rate_limit_middleware(limiter, **options)
    return aiohttp.ClientSession(middlewares=(middleware,), **session_options or {})


async def by_read(content):
    return await content.read()


async def by_sizes(content):
    assert await content.read(0) == b""
    return b"".join([piece async for piece in content.iter_chunked(3)])


async def by_lines(content):
    return b"".join([line async for line in content])


async def by_chunks(content):
    return b"".join([piece async for piece, _ in content.iter_chunks()])


async def by_separator(content):
    return await content.readuntil(b"1\n") + await content.readuntil(b"2\n")


async def by_limited_lines(content):
    return await content.readline(max_line_length=100) + await content.readline()


async def by_length(content):
    return await content.readexactly(len(BODY))


async def by_what_is_there(content):
    found = b""
    while not content.at_eof():
        await asyncio.sleep(0)
        found += content.read_nowait()
    return found


async def by_bytes_that_are_there(content):
    found = b""
    while not content.at_eof():
        await asyncio.sleep(0)
        found += content.read_nowait(1)
    return found


READERS = [
    *(by_read, by_sizes, by_lines, by_chunks),
    *(by_separator, by_limited_lines, by_length, by_what_is_there, by_bytes_that_are_there),
]


@pytest.mark.parametrize("read", READERS)
def test_read_body_in_any_way_settles_once(api, url, bucket, read):
    """Every way of reading a body settles, once, when its end has been read."""
    tails = []
    api.replies.append(Reply(chunks=(BODY[:3], BODY[3:])))

    async def main():
        settle = lambda response, tail: tails.append(tail)  # noqa: E731
        async with (
            session_with(RateLimiter(bucket), settle=settle) as session,
            session.get(url) as response,
        ):
            assert await read(response.content) == BODY
            if read is by_lines or not response.content.at_eof():
                assert await response.content.read() == b""
            assert tails == [BODY]

    asyncio.run(main())
    assert tails == [BODY]


@pytest.mark.parametrize("decompress", [True, False])
def test_read_body_that_stays_compressed_is_decoded_for_settle(api, url, bucket, decompress):
    """`settle` gets the decoded body also where the session leaves it as it is."""
    tails = []
    sent = gzip.compress(BODY)
    api.replies.append(Reply(headers={"Content-Encoding": "gzip"}, chunks=(sent,)))

    async def main():
        settle = lambda response, tail: tails.append(tail)  # noqa: E731
        options = {"auto_decompress": decompress}
        limiter = RateLimiter(bucket)
        async with (
            session_with(limiter, settle=settle, session_options=options) as session,
            session.get(url) as response,
        ):
            return await response.read()

    assert asyncio.run(main()) == (BODY if decompress else sent)
    assert tails == [BODY]


def test_fall_short_of_a_length_stays_charged(api, url, bucket):
    """P43: A reader that wants more than there is gets its error, and the estimate stays."""
    api.replies.append(Reply(chunks=(BODY,)))

    async def main():
        settle = lambda response, tail: pytest.fail("called")  # noqa: E731
        async with (
            session_with(RateLimiter(bucket), settle=settle) as session,
            session.get(url) as response,
        ):
            with pytest.raises(asyncio.IncompleteReadError):
                await response.content.readexactly(1000)

    asyncio.run(main())
    assert bucket.available_tokens == 99


def test_cancel_one_read_of_a_body_settles_by_the_rest(api, url, bucket):
    """A read that took too long may be followed by another."""
    tails, gate = [], threading.Event()
    api.replies.append(Reply(chunks=(BODY[:3], BODY[3:]), gate=gate))

    async def main():
        settle = lambda response, tail: tails.append(tail)  # noqa: E731
        async with (
            session_with(RateLimiter(bucket), settle=settle) as session,
            session.get(url) as response,
        ):
            assert await response.content.readany() == BODY[:3]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(response.content.read(5), 0.01)
            gate.set()
            await response.content.read()

    asyncio.run(main())
    assert tails == [BODY]


def test_release_unread_settles_for_nothing(api, url, bucket):
    """A response that is released unread has shown nothing."""
    tails = []

    async def main():
        settle = lambda response, tail: tails.append(tail)  # noqa: E731
        async with session_with(RateLimiter(bucket), settle=settle) as session:
            response = await session.get(url)
            response.release()

    asyncio.run(main())
    assert tails == [b""]


def test_open_websocket_settles_nothing(bucket):
    """A connection that becomes something else is charged as estimated."""
    from aiohttp import web

    async def echo(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    async def main():
        app = web.Application()
        app.router.add_get("/", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        settle = lambda *_: pytest.fail("called")  # noqa: E731
        try:
            async with (
                session_with(RateLimiter(bucket), settle=settle) as session,
                session.ws_connect(f"http://127.0.0.1:{site.port}/") as socket,
            ):
                return await socket.receive_str()
        finally:
            await runner.cleanup()

    assert asyncio.run(main()) == "hello"
    assert bucket.available_tokens == 99


def test_time_out_as_a_whole_includes_the_wait(api, url):
    """P43: The session's total timeout ends a wait for tokens, which then costs nothing."""
    clock = ManualClock()
    bucket = TokenBucket(1, 1, clock=clock)

    async def main():
        options = {"timeout": aiohttp.ClientTimeout(total=0.1)}
        async with session_with(RateLimiter(bucket), session_options=options) as session:
            await session.get(url, timeout=aiohttp.ClientTimeout(total=10))
            with pytest.raises(asyncio.TimeoutError):
                await session.get(url)

    asyncio.run(main())
    clock.advance(1)
    assert bucket.allow()
    assert len(api.requests) == 1


def test_send_by_host_knows_every_address(bucket):
    """The key of a request is its host."""
    limiters = KeyedRateLimiter.from_rate("10/second")

    async def main():
        async with session_with(limiters) as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://LOCALHOST:1/")

    asyncio.run(main())
    assert len(limiters) == 1
    assert limiters["localhost"].bucket.available_tokens == 10


@pytest.mark.server
def test_send_with_an_awaited_bucket_awaits_it(api, url):
    """P43: A bucket on a server is awaited, also where the end is noticed by a plain function."""

    async def main(bucket):
        settle = lambda response, tail: len(tail)  # noqa: E731
        levels = []
        limiter = RateLimiter(bucket, block=False)
        async with session_with(limiter, cost=100, settle=settle) as session:
            async with session.get(url) as response:
                await response.read()
            levels.append(await bucket.available_tokens)
            (await session.get(url)).release()
            async with asyncio.timeout(5):
                while (level := await bucket.available_tokens) < 997.9:  # noqa: ASYNC110 - a server
                    await asyncio.sleep(0.001)
            levels.append(level)
        return levels

    with Server() as server:
        levels = asyncio.run(with_bucket(server, main))
    assert levels == [pytest.approx(998, abs=1), pytest.approx(998, abs=1)]


def test_fail_what_a_begun_settlement_waits_for_is_told_to_it():
    """P43: What a settlement waits for may fail; it is the settlement's to deal with."""
    told = []

    async def settle(waits_for):
        try:
            await waits_for
        except ValueError as error:
            told.append(error)

    async def main():
        waits_for = asyncio.get_running_loop().create_future()
        _begin(settle(waits_for))
        waits_for.set_exception(ValueError("not found"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(told) == 1
