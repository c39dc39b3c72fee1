"""Figures for Prometheus."""

from __future__ import annotations

from threading import Lock
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from .metrics import BOUNDS, Metrics

__all__ = ["PrometheusMetrics", "hook_of"]


class PrometheusMetrics(Metrics):
    """Keeps the figures in a registry of prometheus_client."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._acquisitions = Counter(
            "rate_limiter_acquisitions",
            "Calls by what was decided.",
            ["limiter", "result"],
            registry=registry,
        )
        self._duration = Histogram(
            "rate_limiter_wait_duration_seconds",
            "How long calls waited for tokens.",
            ["limiter"],
            registry=registry,
            buckets=BOUNDS,
        )
        self._waiting = Gauge(
            "rate_limiter_waiting",
            "Callers that wait for tokens now.",
            ["limiter"],
            registry=registry,
            multiprocess_mode="livesum",
        )

    def count(self, limiter: str, result: str) -> None:
        """Count a call."""
        self._acquisitions.labels(limiter, result).inc()

    def observe_wait(self, limiter: str, seconds: float) -> None:
        """Note how long a wait has been."""
        self._duration.labels(limiter).observe(seconds)

    def add_waiting(self, limiter: str, change: int) -> None:
        """Change the number of callers that wait."""
        self._waiting.labels(limiter).inc(change)


# A registry refuses two metrics of a name.
_making = Lock()
_hooks: WeakKeyDictionary[CollectorRegistry, PrometheusMetrics] = WeakKeyDictionary()


def hook_of(registry: CollectorRegistry | None) -> PrometheusMetrics:
    """Return the hook of a registry; the same one each time."""
    registry = REGISTRY if registry is None else registry
    if not isinstance(registry, CollectorRegistry):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"registry must be a CollectorRegistry of prometheus_client, got {registry!r}"
        )
    with _making:
        hook = _hooks.get(registry)
        if hook is None:
            hook = _hooks[registry] = PrometheusMetrics(registry)
    return hook
