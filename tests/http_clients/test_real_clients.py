"""Real clients against a server that counts for itself: nothing fails, and nothing is refused.

The SDKs are imported where they are used: it takes seconds, which each worker would pay.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import httpx2
import pytest
from http_callers import CALLERS, CONTEXT
from stub_api import Api, ServerLimit, serving

from rate_limiter import BucketGroup, RateLimiter, TokenBucket
from rate_limiter.http import httpx as limited_httpx
from rate_limiter.http import httpx2 as limited_httpx2
from rate_limiter.http import total_tokens

CALLS = 40
CAPACITY, RATE = 5, 10  # what the server allows
MARGIN = 3  # tokens by which the client stays below that
ATTEMPTS = 3  # to find a machine that is not too busy

chat = {"model": "stub", "messages": [{"role": "user", "content": "hello"}]}


def async_transport(limiter, **options):
    inner = httpx2.AsyncHTTPTransport(verify=CONTEXT)
    return limited_httpx2.AsyncRateLimitTransport(limiter, transport=inner, **options)


def openai_client(url, limiter, **options):
    import openai

    client = httpx2.AsyncClient(transport=async_transport(limiter, **options))
    return openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1", http_client=client)


def anthropic_client(url, limiter, **options):
    import anthropic

    client = httpx2.AsyncClient(transport=async_transport(limiter, **options))
    return anthropic.AsyncAnthropic(api_key="key", base_url=url, http_client=client)


async def at_once(call):
    """Make all calls at once; return what the failed ones raised."""
    results = await asyncio.gather(*(call() for _ in range(CALLS)), return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]


def openai_calls(url, limiter, **options):
    async def main():
        async with openai_client(url, limiter, **options) as client:
            return await at_once(lambda: client.chat.completions.create(**chat))

    return asyncio.run(main())


def anthropic_calls(url, limiter, **options):
    async def main():
        async with anthropic_client(url, limiter, **options) as client:
            return await at_once(lambda: client.messages.create(max_tokens=9, **chat))

    return asyncio.run(main())


def plain_calls(name, url, limiter, **options):
    """Make all calls at once with a client of a library as it is; a 429 is a failed call."""
    with CALLERS[name]().session(limiter, **options) as client:
        if client.awaits:

            async def one():
                assert (await client.send_async("GET", url)).status == 200

            return client.runner.run(at_once(one))
        with ThreadPoolExecutor(CALLS) as pool:
            answers = list(pool.map(lambda _: client.send("GET", url), range(CALLS)))
        return [answer for answer in answers if answer.status != 200]


CLIENTS = {
    "openai": openai_calls,
    "anthropic": anthropic_calls,
    **{name: partial(plain_calls, name) for name in CALLERS},
}


def run(calls, limit, bucket, **options):
    """Make all calls at once; return the failed ones, the API, and when that began."""
    api = Api()
    api.limit = ServerLimit(*limit)
    with serving(api) as url:
        began = time.monotonic()
        failed = calls(url, RateLimiter(TokenBucket(*bucket)), **options)
    return failed, api, began


def run_in_time(calls):
    """Do as `run` with the right limit, again if the machine was too busy for it to say anything.

    Requests travel for unequal times. The client stays `MARGIN` tokens below the limit, so it takes
    that many tokens' time between two of them for the server to see more than was sent.
    """
    for _ in range(ATTEMPTS):
        failed, api, began = run(calls, (CAPACITY, RATE), (CAPACITY - MARGIN, RATE))
        allowed = [max(0, n + 1 - CAPACITY + MARGIN) / RATE for n in range(len(api.arrivals))]
        late = [at - began - due for at, due in zip(api.arrivals, allowed, strict=True)]
        if max(late) - min(late) < MARGIN / RATE:
            break
    return failed, api.statuses, late


@pytest.fixture(scope="module")
def running():
    """Run all clients beside each other, each with a server of its own, for they mostly wait."""
    import anthropic  # noqa: F401 - it takes a second, in which no call would be on time
    import openai  # noqa: F401 - likewise

    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        right = {name: pool.submit(run_in_time, calls) for name, calls in CLIENTS.items()}
        twice = {
            name: pool.submit(run, calls, (20, 40), (40, 80), retries=10)
            for name, calls in CLIENTS.items()
        }
        yield {"right": right, "twice": twice}


@pytest.mark.parametrize("name", CLIENTS)
def test_call_at_once_with_the_right_limit_meets_no_429(running, name):
    """P43: 40 calls at once at a server of 5 + 10/s: none fails, and none is refused on the way.

    However busy the machine is, no request reaches the server before the limit allows it.
    """
    failed, statuses, late = running["right"][name].result()
    assert min(late) >= 0
    if max(late) - min(late) < MARGIN / RATE:
        assert failed == []
        assert statuses == [200] * CALLS


@pytest.mark.parametrize("name", CLIENTS)
def test_call_at_once_with_twice_the_limit_loses_nothing(running, name):
    """P43: Told twice what the server allows, a client is refused at times and loses no call."""
    failed, api, _ = running["twice"][name].result()
    assert failed == []
    assert api.statuses.count(200) == CALLS


def test_call_without_a_limit_loses_calls(api, url):
    """Without a limiter most calls fail, retries of the SDK and all: what all this is for."""
    import openai

    api.limit = ServerLimit(CAPACITY, RATE)

    async def main():
        client = httpx2.AsyncClient(verify=CONTEXT)
        async with openai.AsyncOpenAI(
            api_key="key", base_url=f"{url}/v1", http_client=client, max_retries=0
        ) as client:
            return await at_once(lambda: client.chat.completions.create(**chat))

    assert len(asyncio.run(main())) > CALLS / 2


@pytest.fixture
def group():
    return BucketGroup(requests=TokenBucket(100, 1e-5), tokens=TokenBucket(10_000, 1e-5))


SETTLING = {
    "cost": {"requests": 1, "tokens": 900},
    "settle": lambda response, tail: {"tokens": total_tokens(tail)},
}


def left(group):
    return [round(group.buckets[name].available_tokens) for name in ("requests", "tokens")]


def test_call_openai_settles_for_what_the_reply_says(api, url, group):
    """The SDK's calls, whole and streamed, are settled for the tokens of their replies."""

    async def main():
        async with openai_client(url, RateLimiter(group), **SETTLING) as client:
            reply = await client.chat.completions.create(**chat)
            assert (reply.choices[0].message.content, reply.usage.total_tokens) == ("hi", 42)
            assert left(group) == [99, 9_958]
            options = {"stream": True, "stream_options": {"include_usage": True}}
            stream = await client.chat.completions.create(**chat, **options)
            words = [event.choices[0].delta.content async for event in stream if event.choices]
            assert words == ["hi"]

    asyncio.run(main())
    assert left(group) == [98, 9_916]


def test_call_anthropic_settles_for_what_the_reply_says(api, url, group):
    """So are those of the other SDK."""

    async def main():
        async with anthropic_client(url, RateLimiter(group), **SETTLING) as client:
            reply = await client.messages.create(max_tokens=9, **chat)
            assert reply.usage.output_tokens == 22
            assert left(group) == [99, 9_958]
            async with client.messages.stream(max_tokens=9, **chat) as stream:
                assert "hi" in await stream.get_final_text()

    asyncio.run(main())
    assert left(group) == [98, 9_916]


def test_call_from_threads_with_the_blocking_sdks(api, url, group):
    """The SDKs' blocking clients take the blocking transport, of httpx2."""
    import anthropic
    import openai

    limiter = RateLimiter(group)

    def transport():
        inner = httpx2.HTTPTransport(verify=CONTEXT)
        return limited_httpx2.RateLimitTransport(limiter, transport=inner, **SETTLING)

    with openai.OpenAI(
        api_key="key", base_url=f"{url}/v1", http_client=httpx2.Client(transport=transport())
    ) as client:
        assert client.chat.completions.create(**chat).usage.total_tokens == 42
    with anthropic.Anthropic(
        api_key="key", base_url=url, http_client=httpx2.Client(transport=transport())
    ) as client:
        assert client.messages.create(max_tokens=9, **chat).usage.output_tokens == 22
    assert left(group) == [98, 9_916]


def test_call_openai_through_the_older_httpx(api, url, group):
    """The SDK also takes a client of httpx, with the transport that is for it."""
    import openai

    inner = httpx.HTTPTransport(verify=CONTEXT)
    transport = limited_httpx.RateLimitTransport(RateLimiter(group), transport=inner, **SETTLING)
    with openai.OpenAI(
        api_key="key", base_url=f"{url}/v1", http_client=httpx.Client(transport=transport)
    ) as client:
        assert client.chat.completions.create(**chat).usage.total_tokens == 42
    assert left(group) == [99, 9_958]
