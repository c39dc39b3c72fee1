"""Do as a 429 says: its Retry-After pauses every thread and task that shares the bucket."""

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from rate_limiter import TokenBucket

bucket = TokenBucket(capacity=1, tokens_per_second=4)
opener = build_opener(ProxyHandler({}))  # to this machine, whatever proxy is set
arrivals: list[float] = []
pauses: list[tuple[float, float]] = []


class Handler(BaseHTTPRequestHandler):
    """A server that is down for maintenance for a second, from its second request on."""

    def do_GET(self) -> None:
        """Answer 200, or during maintenance 429 and when to come back."""
        arrivals.append(time.monotonic())
        down = len(arrivals) > 1 and arrivals[-1] < arrivals[1] + 1
        self.send_response_only(429 if down else 200)
        if down:
            self.send_header("Retry-After", "1")
        self.end_headers()


def served(name: str, url: str) -> bool:
    """Send a request; if it is refused, pause everybody for as long as the server says."""
    try:
        opener.open(url, timeout=10).close()
    except HTTPError as error:
        with error:
            seconds = float(error.headers["Retry-After"])
        pauses.append((time.monotonic(), seconds))
        bucket.pause(seconds)
        print(f"{time.monotonic() - arrivals[0]:.1f} s  {name}: 429, all pause for {seconds:.0f} s")
        return False
    print(f"{time.monotonic() - arrivals[0]:.1f} s  {name}: 200")
    return True


async def main() -> None:
    """Have two threads and three tasks ask until they have an answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"

    def run_thread() -> None:
        bucket.wait()
        while not served("thread", url):
            bucket.wait()

    async def run_task() -> None:
        await bucket.wait_async()
        while not await asyncio.to_thread(served, "task", url):
            await bucket.wait_async()

    with server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        threads = [asyncio.to_thread(run_thread) for _ in range(2)]
        await asyncio.gather(*threads, *(run_task() for _ in range(3)))
        server.shutdown()
    paused_at, seconds = max(pauses)
    assert not any(paused_at < at < paused_at + seconds for at in arrivals)
    print(f"no request arrived in the {seconds:.0f} s of the pause")


if __name__ == "__main__":
    asyncio.run(main())
