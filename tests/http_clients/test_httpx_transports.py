"""What is particular to the transports of httpx and httpx2."""

from __future__ import annotations

import asyncio

import httpx
import httpx2
import httpx_retries
import pytest
import trio
from http_callers import CONTEXT
from servers import Server
from stub_api import Reply

import rate_limiter.http.httpx
import rate_limiter.http.httpx2
from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.http.exchange import run
from rate_limiter.redis import AsyncRedisTokenBucket
from rate_limiter.testing import ManualClock

LIBRARIES = [(httpx, rate_limiter.http.httpx), (httpx2, rate_limiter.http.httpx2)]
each_library = pytest.mark.parametrize(
    ("library", "limited"), LIBRARIES, ids=lambda module: module.__name__.rpartition(".")[2]
)


@pytest.fixture
def bucket():
    return TokenBucket(capacity=10, tokens_per_second=1, clock=ManualClock(auto_advance=True))


@each_library
def test_derive_from_the_library_s_classes(library, limited, bucket):
    """Whatever takes a transport of the library takes these, and without one they make its own."""
    transport = limited.RateLimitTransport(RateLimiter(bucket))
    assert isinstance(transport, library.BaseTransport)
    transport.close()
    transport = limited.AsyncRateLimitTransport(RateLimiter(bucket))
    assert isinstance(transport, library.AsyncBaseTransport)
    asyncio.run(transport.aclose())


@each_library
def test_give_a_transport_to_the_other_client_is_told_so(library, limited, bucket):
    """A transport that blocks does not go with a client that awaits; the error says what does."""
    name = library.__name__
    other = pytest.raises(TypeError, match=f"{name}.AsyncClient takes an AsyncRateLimitTransport")
    transport = limited.RateLimitTransport(RateLimiter(bucket))

    async def ask():
        with other:
            await library.AsyncClient(transport=transport).get("http://host/")
        with other:
            await library.AsyncClient(transport=transport).__aenter__()

    asyncio.run(ask())
    other = pytest.raises(TypeError, match=f"{name}.Client takes a RateLimitTransport")
    transport = limited.AsyncRateLimitTransport(RateLimiter(bucket))
    with other:
        library.Client(transport=transport).get("http://host/")
    with other:
        library.Client(transport=transport).__enter__()


class Inner:
    """A transport that notes what is done with it."""

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda *_: self.heard.append(name)

    def __enter__(self):
        self.heard.append("enter")

    def __exit__(self, *_):
        self.heard.append("exit")

    async def __aenter__(self):
        self.heard.append("enter")

    async def __aexit__(self, *_):
        self.heard.append("exit")

    async def aclose(self):
        self.heard.append("aclose")


@each_library
def test_enter_and_close_reach_the_transport_within(library, limited, bucket):
    """The transport within is entered, left and closed with the one around it."""
    inner = Inner()
    transport = limited.RateLimitTransport(RateLimiter(bucket), transport=inner)
    with transport as entered:
        assert entered is transport
    transport.close()
    assert inner.heard == ["enter", "exit", "close"]

    async def use():
        inner = Inner()
        transport = limited.AsyncRateLimitTransport(RateLimiter(bucket), transport=inner)
        async with transport as entered:
            assert entered is transport
        await transport.aclose()
        return inner.heard

    assert asyncio.run(use()) == ["enter", "exit", "aclose"]


@each_library
def test_give_a_transport_of_the_other_kind_is_refused(library, limited, bucket):
    """The first request would fail in it, and say nothing of the reason."""
    limiter = RateLimiter(bucket)
    for wrong in (library.AsyncHTTPTransport(), library.Client(), library.HTTPTransport, 5):
        with pytest.raises(TypeError, match=r"transport must be .* such as HTTPTransport, got"):
            limited.RateLimitTransport(limiter, transport=wrong)
    for wrong in (library.HTTPTransport(), library.AsyncClient()):
        with pytest.raises(TypeError, match="such as AsyncHTTPTransport, got"):
            limited.AsyncRateLimitTransport(limiter, transport=wrong)


@each_library
@pytest.mark.parametrize(
    "name", ["ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"]
)
def test_fail_before_sending_costs_nothing(library, limited, bucket, name):
    """P43: These errors also mean that the request never left."""
    error = getattr(library, name)

    def raising(request):
        raise error("on purpose")

    inner = library.MockTransport(raising)
    transport = limited.RateLimitTransport(RateLimiter(bucket), transport=inner)
    with library.Client(transport=transport) as client, pytest.raises(error):
        client.get("http://host/")
    assert bucket.available_tokens == 10


@each_library
@pytest.mark.parametrize("name", ["WriteError", "ReadError", "RemoteProtocolError"])
def test_fail_while_sending_stays_charged(library, limited, bucket, name):
    """P43: After these it may have arrived."""
    error = getattr(library, name)

    def raising(request):
        raise error("on purpose")

    inner = library.MockTransport(raising)
    transport = limited.RateLimitTransport(RateLimiter(bucket), transport=inner)
    with library.Client(transport=transport) as client, pytest.raises(error):
        client.get("http://host/")
    assert bucket.available_tokens == 9


@each_library
def test_settle_body_that_is_there_already(library, limited, bucket):
    """A response whose body has been read, as a mock's or a cache's, settles at once."""
    inner = library.MockTransport(lambda request: library.Response(200, content=b"4"))
    options = {"cost": 5, "settle": lambda response, tail: int(tail), "transport": inner}
    transport = limited.RateLimitTransport(RateLimiter(bucket), **options)
    with library.Client(transport=transport) as client:
        assert client.get("http://host/").content == b"4"
    assert bucket.available_tokens == 6


@each_library
def test_settle_no_response_that_switches_protocols(library, limited, bucket):
    """A connection that becomes something else has no body to wait for."""
    stream = library.ByteStream(b"")
    inner = library.MockTransport(lambda request: library.Response(101, stream=stream))
    options = {"settle": lambda *_: pytest.fail("called"), "transport": inner}
    transport = limited.RateLimitTransport(RateLimiter(bucket), **options)
    response = transport.handle_request(library.Request("GET", "http://host/"))
    assert response.stream is stream


@each_library
def test_follow_redirect_pays_each_request(library, limited, api, url, bucket):
    """Each request that a redirect makes is one."""
    api.replies.append(Reply(302, {"Location": "/there"}))
    inner = library.HTTPTransport(verify=CONTEXT)
    transport = limited.RateLimitTransport(RateLimiter(bucket), transport=inner)
    with library.Client(transport=transport, follow_redirects=True) as client:
        client.get(url)
    assert bucket.available_tokens == 8


@each_library
def test_send_in_trio_waits_there(library, limited, api, url, bucket):
    """The asynchronous transport also serves tasks of trio."""

    async def main():
        inner = library.AsyncHTTPTransport(verify=CONTEXT)
        transport = limited.AsyncRateLimitTransport(
            RateLimiter(bucket), transport=inner, settle=lambda response, tail: len(tail)
        )
        async with library.AsyncClient(transport=transport) as client:
            return [(await client.get(url)).status_code for _ in range(7)]

    assert trio.run(main) == [200] * 7
    assert bucket.available_tokens < 1


def test_retry_around_a_transport_pays_each_attempt(api, url, bucket):
    """httpx-retries takes these transports, and its attempts go through the limiter."""
    api.replies += [Reply(429, {"Retry-After": "0"}), Reply(503)]
    inner = httpx.HTTPTransport(verify=CONTEXT)
    limited = rate_limiter.http.httpx.RateLimitTransport(RateLimiter(bucket), transport=inner)
    retry = httpx_retries.Retry(total=3, backoff_factor=0)
    with httpx.Client(transport=httpx_retries.RetryTransport(limited, retry=retry)) as client:
        assert client.get(url).status_code == 200
    assert bucket.available_tokens == 7


def test_retry_around_an_async_transport_pays_each_attempt(api, url, bucket):
    """So do those of a client that awaits."""
    api.replies += [Reply(429, {"Retry-After": "0"}), Reply(503)]

    async def main():
        inner = httpx.AsyncHTTPTransport(verify=CONTEXT)
        limited = rate_limiter.http.httpx.AsyncRateLimitTransport(
            RateLimiter(bucket), transport=inner
        )
        retry = httpx_retries.Retry(total=3, backoff_factor=0)
        transport = httpx_retries.RetryTransport(limited, retry=retry)
        async with httpx.AsyncClient(transport=transport) as client:
            return (await client.get(url)).status_code

    assert asyncio.run(main()) == 200
    assert bucket.available_tokens == 7


@pytest.mark.server
@each_library
def test_send_with_an_awaited_bucket_awaits_it(library, limited, api, url):
    """P43: A bucket on a server is awaited for every step: taken, refunded, settled and paused."""

    async def main(bucket):
        inner = library.AsyncHTTPTransport(verify=CONTEXT)
        used = lambda response, tail: len(tail) if response.status_code == 200 else None  # noqa: E731
        options = {"cost": 100, "settle": used, "transport": inner}
        transport = limited.AsyncRateLimitTransport(RateLimiter(bucket, block=False), **options)
        async with library.AsyncClient(transport=transport) as client:
            assert (await client.get(url)).status_code == 200
            settled = await bucket.available_tokens
            with pytest.raises(library.ConnectError):
                await client.get("http://127.0.0.1:1")
            refunded = await bucket.available_tokens
            api.replies.append(Reply(429, {"Retry-After": "60"}))
            await client.get(url)
        return settled, refunded, await bucket.retry_after()

    with Server() as server:
        settled, refunded, pause = asyncio.run(with_bucket(server, main))
    assert settled == pytest.approx(998, abs=1)
    assert refunded == pytest.approx(998, abs=1)
    assert pause == pytest.approx(60, abs=5)


async def with_bucket(server, main):
    """Run a coroutine function with a bucket on a server."""
    client = server.async_client()
    try:
        return await main(AsyncRedisTokenBucket(client, "api", 1000, 1))
    finally:
        await client.aclose()


def test_run_what_suspends_is_an_error():
    """What is to block and suspends instead is a mistake, and is told so."""
    with pytest.raises(RuntimeError, match="suspended"):
        run(asyncio.sleep(0))
