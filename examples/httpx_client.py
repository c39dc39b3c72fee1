"""Give each host its own limit in an httpx client, used by threads; the hosts are stubs."""

from concurrent.futures import ThreadPoolExecutor

import httpx
from stub_api import Answer, StubApi

from rate_limiter import KeyedRateLimiter, TokenBucket
from rate_limiter.http.httpx import RateLimitTransport

limiters = KeyedRateLimiter(lambda: TokenBucket(capacity=5, tokens_per_second=20))


def answer(path: str, _: object) -> Answer:
    """Answer anything."""
    return 200, {"Content-Type": "text/plain"}, f"this is {path}".encode()


def main() -> None:
    """Ask two hosts for 20 pages each, at once; each allows 10 at once and 20 a second."""
    with (
        StubApi(answer, capacity=10, rate=20) as one,
        StubApi(answer, capacity=10, rate=20) as other,
        httpx.Client(transport=RateLimitTransport(limiters, retries=2)) as client,
        ThreadPoolExecutor(40) as pool,
    ):
        hosts = [f"http://127.0.0.1:{one.port}", f"http://localhost:{other.port}"]
        pages = [f"{host}/page/{number}" for number in range(20) for host in hosts]
        statuses = [response.status_code for response in pool.map(client.get, pages)]
    print(f"{statuses.count(200)} of {len(pages)} pages, of {len(limiters)} hosts")


if __name__ == "__main__":
    main()
