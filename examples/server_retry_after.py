"""Do as a 429 says: its Retry-After pauses every thread and task that shares the bucket."""

import asyncio
import math
import time

from rate_limiter import TokenBucket

bucket = TokenBucket(capacity=1, tokens_per_second=5)
arrivals: list[float] = []
pauses: list[tuple[float, float]] = []


def send() -> tuple[int, dict[str, str]]:
    """Be the server, which is down for a while from its second request on."""
    arrivals.append(time.monotonic())
    back_in = arrivals[1] + 0.8 - arrivals[-1] if arrivals[1:] else 0
    if back_in > 0:
        return 429, {"Retry-After": str(math.ceil(back_in))}  # whole seconds, rounded up
    return 200, {}


def served(name: str) -> bool:
    """Send a request; if it is refused, pause everybody for as long as the server says."""
    status, headers = send()
    now = time.monotonic()
    at = f"{now - arrivals[0]:.1f} s  {name}"
    if status == 429:  # noqa: PLR2004 - too many requests
        seconds = float(headers["Retry-After"])
        bucket.pause(seconds)
        pauses.append((now, seconds))
        print(f"{at}: 429, all pause for {seconds:.0f} s")
        return False
    print(f"{at}: 200")
    return True


def run_thread() -> None:
    """Ask from a thread until there is an answer."""
    bucket.wait()
    while not served("thread"):
        bucket.wait()


async def run_task() -> None:
    """Ask from a task until there is an answer."""
    await bucket.wait_async()
    while not served("task"):
        await bucket.wait_async()


async def main() -> None:
    """Let two threads and three tasks ask; when the pause ends they come one by one."""
    threads = [asyncio.to_thread(run_thread) for _ in range(2)]
    await asyncio.gather(*threads, *(run_task() for _ in range(3)))
    paused_at, seconds = pauses[-1]
    assert not any(paused_at < at < paused_at + seconds for at in arrivals)
    print(f"no request arrived in the {seconds:.0f} s of the pause")


if __name__ == "__main__":
    asyncio.run(main())
