"""Figures for OpenTelemetry."""

from __future__ import annotations

from opentelemetry.metrics import Meter, get_meter

from .metrics import BOUNDS, Metrics

__all__ = ["OpenTelemetryMetrics"]


class OpenTelemetryMetrics(Metrics):
    """Records the figures with instruments of a meter.

    Args:
        meter: The meter; one of the global provider if None.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = get_meter("rate_limiter") if meter is None else meter
        if not isinstance(meter, Meter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"meter must be a Meter of opentelemetry.metrics, got {meter!r}")
        self._acquisitions = meter.create_counter(
            "rate_limiter.acquisitions", "{call}", "Calls by what was decided."
        )
        self._duration = meter.create_histogram(
            "rate_limiter.wait.duration",
            "s",
            "How long calls waited for tokens.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._waiting = meter.create_up_down_counter(
            "rate_limiter.waiting", "{caller}", "Callers that wait for tokens now."
        )

    def count(self, limiter: str, result: str) -> None:
        """Count a call."""
        self._acquisitions.add(1, {"limiter": limiter, "result": result})

    def observe_wait(self, limiter: str, seconds: float) -> None:
        """Note how long a wait has been."""
        self._duration.record(seconds, {"limiter": limiter})

    def add_waiting(self, limiter: str, change: int) -> None:
        """Change the number of callers that wait."""
        self._waiting.add(change, {"limiter": limiter})
