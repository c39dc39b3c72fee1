"""Applications for servers of several processes: limited together, in a store.

The environment says which store, where it is, and the file in which served requests are noted.
"""

from __future__ import annotations

import os

from rate_limiter import KeyedRateLimiter
from rate_limiter.http import asgi, wsgi

CAPACITY, RATE = 20, 20
READY = "/ready"  # a path that is exempt


def in_redis(url, *, awaited):
    """Keep the buckets on a Redis server."""
    import redis.asyncio

    from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket

    module = redis.asyncio if awaited else redis
    kind = AsyncRedisTokenBucket if awaited else RedisTokenBucket
    client = module.Redis.from_url(url, socket_timeout=5)
    return lambda key: kind(client, key, CAPACITY, RATE)


def in_sqlite(path, *, awaited):
    """Keep the buckets in a file, for threads and tasks alike."""
    from rate_limiter.sqlite import SQLiteTokenBucket

    return lambda key: SQLiteTokenBucket(path, key, CAPACITY, RATE)


STORES = {"redis": in_redis, "sqlite": in_sqlite}


def limiters(*, awaited):
    make_bucket = STORES[os.environ["STORE"]](os.environ["STORE_URL"], awaited=awaited)
    return KeyedRateLimiter(make_bucket, block=False)


def note(path):
    """Note a served request: the server's own count. Return the body, which names the process."""
    if path != READY:
        with open(os.environ["NOTES"], "a", encoding="ascii") as notes:  # noqa: PTH123 - appends
            notes.write(f"{os.getpid()}\n")
    return f"{os.getpid():10}".encode()


def make_asgi():
    async def app(scope, receive, send):
        body = note(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def key(scope):
        return None if scope["path"] == READY else asgi.client_ip(scope)

    return asgi.RateLimitMiddleware(app, limiters(awaited=True), key, legacy_headers=True)


def make_wsgi():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        return [note(environ["PATH_INFO"])]

    def key(environ):
        return None if environ["PATH_INFO"] == READY else wsgi.remote_addr(environ)

    return wsgi.RateLimitMiddleware(app, limiters(awaited=False), key, legacy_headers=True)
