"""What is counted and timed, whatever keeps the figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter

from ..exceptions import BackendError
from .events import Event

__all__ = ["BOUNDS", "Metrics"]

# Seconds: the borders between which waits are counted, from a blink to an hour.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_RESULTS = ("admitted", "refused", "would_refuse", "would_wait")


class Metrics(ABC):
    """A hook that counts calls by their result, times waits, and knows how many wait."""

    admitted = True  # it is told of admissions as well

    def __call__(self, event: Event) -> AbstractContextManager[None] | None:
        """Count an event."""
        limiter = event.limiter or ""
        if event.kind == "waiting":
            return self._during_wait(limiter)
        if event.kind in _RESULTS:
            self.count(limiter, event.kind)
        if event.kind == "admitted" and event.seconds:
            self.observe_wait(limiter, event.seconds)
        return None

    @contextmanager
    def _during_wait(self, limiter: str) -> Generator[None]:
        """Count a waiter while it waits, and time one that leaves without its tokens."""
        begin = perf_counter()
        self.add_waiting(limiter, 1)
        try:
            yield
        except BackendError:  # the fallback decides instead, and tells how long it was
            raise
        except BaseException:
            self.observe_wait(limiter, perf_counter() - begin)
            raise
        finally:
            self.add_waiting(limiter, -1)

    @abstractmethod
    def count(self, limiter: str, result: str) -> None:
        """Count a call."""

    @abstractmethod
    def observe_wait(self, limiter: str, seconds: float) -> None:
        """Note how long a wait has been."""

    @abstractmethod
    def add_waiting(self, limiter: str, change: int) -> None:
        """Change the number of callers that wait."""
