"""The bucket that speed is measured against: the fastest right one that pure Python allows.

It takes 25 lines: floats, slots, one lock.
"""

from __future__ import annotations

import threading
import time


class ReferenceBucket:
    __slots__ = ("capacity", "last", "lock", "rate", "tokens")

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = self.tokens = float(capacity)
        self.rate = float(rate)
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def allow(self, tokens: float = 1) -> bool:
        if tokens <= 0:
            raise ValueError(tokens)
        with self.lock:
            now = time.monotonic()
            level = self.tokens + (now - self.last) * self.rate
            if level > self.capacity:  # noqa: PLR1730 - min() is a call, and slower
                level = self.capacity
            if level < tokens:
                return False
            self.tokens = level - tokens
            self.last = now
            return True
