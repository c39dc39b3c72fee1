"""See what limiters do: events, logs and metrics.

    from rate_limiter.instrumentation import log_waits, prometheus, set_hooks

    set_hooks([log_waits(over=5.0), prometheus()])

Without any hook, the logger `rate_limiter` reports waits: at level DEBUG, and as a warning if one
begins with more than a minute to go, at most once a minute for each limiter.
"""

from __future__ import annotations

from typing import Any

from .events import Event, Hook, Kind, makes_hooks, set_hooks
from .logs import log_waits
from .reports import outage, paused

__all__ = [
    "Event",
    "Hook",
    "Kind",
    "log_waits",
    "opentelemetry",
    "outage",
    "paused",
    "prometheus",
    "set_hooks",
]


@makes_hooks
def prometheus(registry: Any = None) -> Hook:
    """Return a hook that counts calls and times waits for Prometheus.

        set_hooks([prometheus()])
        prometheus_client.start_http_server(9000)

    The metrics are `rate_limiter_acquisitions_total{limiter,result}`,
    `rate_limiter_wait_duration_seconds{limiter}` and `rate_limiter_waiting{limiter}`. A result is
    `admitted`, `refused`, `would_refuse` or `would_wait`. The label of a limiter without a name is
    empty. A second call with the same registry returns the same hook.

    Args:
        registry: A `prometheus_client.CollectorRegistry`; that library's own if None.

    Raises:
        ImportError: prometheus_client is not installed; the extra `prometheus` brings it.
    """
    from .prometheus_metrics import hook_of

    return hook_of(registry)


@makes_hooks
def opentelemetry(meter: Any = None) -> Hook:
    """Return a hook that counts calls and times waits for OpenTelemetry.

    The metrics are `rate_limiter.acquisitions` with the attributes `limiter` and `result`,
    `rate_limiter.wait.duration` in seconds, and `rate_limiter.waiting`, both with `limiter`. The
    results are those of `prometheus`.

    Args:
        meter: An `opentelemetry.metrics.Meter`; one of the global provider if None.

    Raises:
        ImportError: opentelemetry-api is not installed; the extra `opentelemetry` brings it.
    """
    from .opentelemetry_metrics import OpenTelemetryMetrics

    return OpenTelemetryMetrics(meter)
