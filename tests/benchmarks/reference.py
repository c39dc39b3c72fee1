"""The smallest token bucket that is right under threads, which the package is measured against."""

from __future__ import annotations

import threading
import time


class Reference:
    def __init__(self, capacity: float, tokens_per_second: float) -> None:
        self.capacity = capacity
        self.tokens_per_second = tokens_per_second
        self.tokens = capacity
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def allow(self, tokens: float = 1) -> bool:
        with self.lock:
            now = time.monotonic()
            accrued = (now - self.last) * self.tokens_per_second
            self.tokens = min(self.capacity, self.tokens + accrued)
            self.last = now
            if self.tokens < tokens:
                return False
            self.tokens -= tokens
            return True
