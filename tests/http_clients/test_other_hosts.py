"""Others that take a limiter, as the docs show: models of LangChain, and channels of gRPC."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rate_limiter import RateLimiter, TokenBucket
from rate_limiter.testing import ManualClock

DOCS = Path(__file__).parents[2] / "docs" / "http.md"


def shown(name):
    """Return a class that a code block of the docs defines."""
    blocks = DOCS.read_text(encoding="utf-8").split("```python\n")[1:]
    block = next(b for b in blocks if f"class {name}" in b).split("```")[0]
    namespace = {}
    exec(compile(block, "docs/http.md", "exec"), namespace)  # noqa: S102 - our own docs
    return namespace[name]


@pytest.fixture
def bucket():
    return TokenBucket(2, 1, clock=ManualClock(auto_advance=True))


def test_limit_chat_model_of_langchain(bucket):
    """A model that is given the limiter of the docs takes a token for each call, in either way."""
    from langchain_core.language_models import GenericFakeChatModel

    limiter = shown("BucketLimiter")(bucket)
    model = GenericFakeChatModel(messages=iter(["a", "b", "c"]), rate_limiter=limiter)
    assert [model.invoke("hello").content for _ in range(2)] == ["a", "b"]
    assert not limiter.acquire(blocking=False)
    assert asyncio.run(model.ainvoke("hello")).content == "c"
    assert not asyncio.run(limiter.aacquire(blocking=False))


def test_limit_channel_of_grpc(bucket):
    """A channel with the interceptor of the docs takes a token for each call to a real server."""
    import grpc

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as bare:
            channel = grpc.intercept_channel(bare, shown("Limited")(RateLimiter(bucket)))
            call = channel.unary_unary("/service/Echo")
            assert [call(text) for text in (b"a", b"b", b"c")] == [b"a", b"b", b"c"]
    finally:
        server.stop(None).wait()
    assert bucket.available_tokens == 0
