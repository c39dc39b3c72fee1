"""One way to call every HTTP library, so that one suite runs against all of them."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import httpx
import httpx2
import requests

from rate_limiter.http import httpx as limited_httpx
from rate_limiter.http import httpx2 as limited_httpx2
from rate_limiter.http.aiohttp import rate_limit_middleware
from rate_limiter.http.requests import RateLimitAdapter

SECONDS = 10  # after which a test's request has failed
CONTEXT = ssl.create_default_context()  # made once: it takes longer than a test


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: object
    body: bytes


class SyncHttpx:
    """Clients of httpx or httpx2 that block."""

    awaits = False

    def __init__(self, library, limited):
        self.library, self.limited = library, limited
        self.connect_error, self.timeout = library.ConnectError, library.ReadTimeout
        self.broken = library.RemoteProtocolError

    @contextmanager
    def session(self, limiter, *, wait=SECONDS, **options):
        options = {"transport": self.library.HTTPTransport(verify=CONTEXT), **options}
        transport = self.limited.RateLimitTransport(limiter, **options)
        with self.library.Client(transport=transport, timeout=wait) as client:
            self.client = client
            yield self

    def send(self, method, url, body=None):
        response = self.client.request(method, url, content=body)
        return Answer(response.status_code, response.headers, response.content)

    def pieces(self, url, most=None):
        """Yield the body as it comes, and leave after so many pieces."""
        with self.client.stream("GET", url) as response:
            for number, piece in enumerate(response.iter_bytes(), 1):
                yield piece
                if number == most:
                    return

    def body_once(self, data):
        """Return a body that can be sent only once."""
        return iter([data])

    def run(self, function, *args):
        return function(*args)

    def read_some(self, url, most=None, between=None):
        found = []
        for piece in self.pieces(url, most):
            found.append(piece)
            if between:
                between()
        return found


class Asynchronous:
    """What clients that await have in common: each method runs in one loop."""

    awaits = True

    @contextmanager
    def session(self, limiter, **options):
        with asyncio.Runner() as runner:
            self.runner = runner
            self.client = runner.run(self.open(limiter, **options))
            try:
                yield self
            finally:
                runner.run(self.close())

    def send(self, method, url, body=None):
        return self.runner.run(self.send_async(method, url, body))

    def read_some(self, url, most=None, between=None):
        async def read():
            found = []
            async for piece in self.pieces_async(url, most):
                found.append(piece)
                if between:
                    between()
            return found

        return self.runner.run(read())

    def body_once(self, data):
        async def body():
            yield data

        return body()


class AsyncHttpx(Asynchronous):
    """Clients of httpx or httpx2 that await."""

    def __init__(self, library, limited):
        self.library, self.limited = library, limited
        self.connect_error, self.timeout = library.ConnectError, library.ReadTimeout
        self.broken = library.RemoteProtocolError

    async def open(self, limiter, *, wait=SECONDS, **options):
        options = {"transport": self.library.AsyncHTTPTransport(verify=CONTEXT), **options}
        transport = self.limited.AsyncRateLimitTransport(limiter, **options)
        return await self.library.AsyncClient(transport=transport, timeout=wait).__aenter__()

    async def close(self):
        await self.client.__aexit__(None, None, None)

    async def send_async(self, method, url, body=None):
        response = await self.client.request(method, url, content=body)
        return Answer(response.status_code, response.headers, response.content)

    async def pieces_async(self, url, most=None):
        async with self.client.stream("GET", url) as response:
            number = 0
            async for piece in response.aiter_bytes():
                number += 1
                yield piece
                if number == most:
                    break


class Requests:
    """Sessions of requests."""

    awaits = False
    connect_error, timeout = requests.ConnectionError, requests.ReadTimeout
    broken = requests.exceptions.ChunkedEncodingError

    @contextmanager
    def session(self, limiter, *, wait=SECONDS, **options):
        with requests.Session() as session:
            session.mount("http://", RateLimitAdapter(limiter, **options))
            self.client, self.wait = session, wait
            yield self

    def send(self, method, url, body=None):
        response = self.client.request(method, url, data=body, timeout=self.wait)
        return Answer(response.status_code, response.headers, response.content)

    def read_some(self, url, most=None, between=None):
        found = []
        with self.client.get(url, stream=True, timeout=self.wait) as response:
            for number, piece in enumerate(response.iter_content(None), 1):
                found.append(piece)
                if between:
                    between()
                if number == most:
                    break
        return found

    body_once = SyncHttpx.body_once


class Aiohttp(Asynchronous):
    """Sessions of aiohttp."""

    connect_error, timeout = aiohttp.ClientConnectorError, aiohttp.SocketTimeoutError
    broken = aiohttp.ClientPayloadError

    async def open(self, limiter, *, wait=SECONDS, **options):
        middlewares = (rate_limit_middleware(limiter, **options),)
        times = aiohttp.ClientTimeout(total=None, sock_read=wait)
        return aiohttp.ClientSession(middlewares=middlewares, timeout=times)

    async def close(self):
        await self.client.close()

    async def send_async(self, method, url, body=None):
        async with self.client.request(method, url, data=body) as response:
            return Answer(response.status, response.headers, await response.read())

    async def pieces_async(self, url, most=None):
        async with self.client.get(url) as response:
            number = 0
            async for piece in response.content.iter_any():
                number += 1
                yield piece
                if number == most:
                    break


CALLERS = {
    "httpx": lambda: SyncHttpx(httpx, limited_httpx),
    "httpx, async": lambda: AsyncHttpx(httpx, limited_httpx),
    "httpx2": lambda: SyncHttpx(httpx2, limited_httpx2),
    "httpx2, async": lambda: AsyncHttpx(httpx2, limited_httpx2),
    "requests": Requests,
    "aiohttp": Aiohttp,
}
