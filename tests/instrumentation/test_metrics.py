"""Metrics, read back by the libraries that publish them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rate_limiter import (
    BackendError,
    KeyedRateLimiter,
    RateLimiter,
    RateLimitExceeded,
    TokenBucket,
)
from rate_limiter.instrumentation import Event, opentelemetry, outage, paused, prometheus, set_hooks


class Prometheus:
    """A registry of prometheus_client, read through its exposition."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.hook = prometheus(self.registry)

    @property
    def text(self):
        return generate_latest(self.registry).decode()

    def value(self, name, **labels):
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return sample.value
        return None

    def calls(self, limiter, result):
        return self.value("rate_limiter_acquisitions_total", limiter=limiter, result=result)

    def waits(self, limiter):
        name = "rate_limiter_wait_duration_seconds"
        return [self.value(f"{name}_{part}", limiter=limiter) for part in ("count", "sum")]

    def waiting(self, limiter):
        return self.value("rate_limiter_waiting", limiter=limiter)


class OpenTelemetry:
    """A meter of the OpenTelemetry SDK, read through a reader in memory."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.hook = opentelemetry(MeterProvider([self.reader]).get_meter("test"))

    @property
    def text(self):
        data = self.reader.get_metrics_data()
        return "" if data is None else data.to_json()

    def metric(self, name):
        data = self.reader.get_metrics_data()
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        return metric
        return None

    def point(self, name, **attributes):
        metric = self.metric(name)
        points = [] if metric is None else metric.data.data_points
        return next((point for point in points if point.attributes == attributes), None)

    def calls(self, limiter, result):
        point = self.point("rate_limiter.acquisitions", limiter=limiter, result=result)
        return None if point is None else point.value

    def waits(self, limiter):
        point = self.point("rate_limiter.wait.duration", limiter=limiter)
        return [None, None] if point is None else [point.count, point.sum]

    def waiting(self, limiter):
        point = self.point("rate_limiter.waiting", limiter=limiter)
        return None if point is None else point.value


@pytest.fixture(params=[Prometheus, OpenTelemetry])
def metrics(request):
    """Metrics that are set as a hook."""
    metrics = request.param()
    set_hooks([metrics.hook])
    return metrics


def enter(limiter, tokens=1):
    with limiter.acquire(tokens):
        pass


def test_count_calls_by_their_result(metrics, quick_clock):
    """P45: Every call is counted once, by what was decided."""
    bucket = TokenBucket(2, 0.5, clock=quick_clock)
    api, refusing = RateLimiter(bucket, name="api"), RateLimiter(bucket, block=False, name="api")
    dry, dry_refusing = (
        RateLimiter(bucket, name="dry", dry_run=True, block=block) for block in (True, False)
    )
    call = api(lambda: None)

    call()
    enter(api)
    enter(api)
    for _ in range(3):
        with pytest.raises(RateLimitExceeded):
            enter(refusing)
    enter(dry_refusing)
    enter(dry)

    results = ("admitted", "refused", "would_refuse", "would_wait")
    assert [metrics.calls("api", result) for result in results] == [3, 3, None, None]
    assert [metrics.calls("dry", result) for result in results] == [None, None, 1, 1]
    assert (metrics.waits("api"), metrics.waiting("api")) == ([1, 2.0], 0)


def test_wait_is_counted_while_it_lasts(metrics, clock):
    """P45: A waiter is counted while it waits, and timed by the clock of its bucket."""
    limiter = RateLimiter(TokenBucket(1, 0.25, initial_tokens=0, clock=clock), name="api")

    async def main():
        tasks = [asyncio.ensure_future(acquire(limiter)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (metrics.waiting("api"), metrics.waits("api")[0] or 0) == (2, 0)
        clock.advance(4)
        await tasks[0]
        assert metrics.waiting("api") == 1
        clock.advance(4)
        await tasks[1]

    asyncio.run(main())

    assert (metrics.waiting("api"), metrics.waits("api")) == (0, [2, 12.0])
    assert metrics.calls("api", "admitted") == 2


async def acquire(limiter):
    await limiter.acquire()


def test_cancel_a_wait_is_timed_and_not_counted_as_admitted(metrics, clock):
    """P45: A caller that gave up has waited as well."""
    limiter = RateLimiter(TokenBucket(1, 1, initial_tokens=0, clock=clock), name="api")

    async def main():
        task = asyncio.ensure_future(acquire(limiter))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    count, total = metrics.waits("api")
    assert (count, metrics.waiting("api"), metrics.calls("api", "admitted")) == (1, 0, None)
    assert 0 < total < 60


def test_use_keys_and_no_name_shows_neither_key_nor_name(metrics, clock):
    """P45: No metric carries a key; what has no name has an empty label."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=clock), block=False)
    enter(limiters["secret"])
    with pytest.raises(RateLimitExceeded):
        enter(limiters["secret"])

    assert metrics.calls("", "admitted") == 1
    assert metrics.calls("", "refused") == 1
    assert "secret" not in metrics.text


def test_tell_of_other_events_counts_no_call(metrics):
    """A pause and an outage are no calls."""
    paused("api", 5)
    outage("api")
    assert "api" not in metrics.text


def test_prometheus_again_counts_in_the_same_metrics():
    """A registry has one hook, for it refuses two metrics of a name."""
    registry = CollectorRegistry()
    assert prometheus(registry) is prometheus(registry)
    assert prometheus(CollectorRegistry()) is not prometheus(registry)
    assert prometheus() is prometheus()


@pytest.mark.parametrize(
    ("export", "kind"), [(prometheus, "a CollectorRegistry"), (opentelemetry, "a Meter")]
)
def test_export_to_something_else_says_what_is_taken(export, kind):
    """The error names what is taken, and shows what came."""
    with pytest.raises(TypeError, match=f"must be {kind} of .*, got 5"):
        export(5)


def test_opentelemetry_without_a_meter_uses_the_global_one(quick_clock):
    """Without a meter the global provider is asked; without a provider nothing is recorded."""
    set_hooks([opentelemetry()])
    limiter = RateLimiter(TokenBucket(1, 1, clock=quick_clock))
    enter(limiter)
    enter(limiter)


def test_opentelemetry_names_its_units():
    """The metrics have the units that OpenTelemetry writes."""
    metrics = OpenTelemetry()
    set_hooks([metrics.hook])
    limiter = RateLimiter(TokenBucket(1, 1e3))
    enter(limiter)
    enter(limiter, 2)
    names = ("acquisitions", "wait.duration", "waiting")
    units = [metrics.metric(f"rate_limiter.{name}").unit for name in names]
    assert units == ["{call}", "s", "{caller}"]
    point = metrics.point("rate_limiter.wait.duration", limiter="")
    assert point.explicit_bounds[-1] == 3600


@pytest.mark.parametrize("name", ["prometheus", "opentelemetry"])
def test_import_an_exporter_imports_no_other(name):
    """An exporter needs its own library alone, and says so where that is missing."""
    other = {"prometheus": "opentelemetry", "opentelemetry": "prometheus_client"}[name]
    library = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry.metrics"}[name]
    script = (
        f"import sys; sys.modules[{other!r}] = None\n"
        f"from rate_limiter.instrumentation import {name}; {name}(); {name}()\n"
        f"del sys.modules['rate_limiter.instrumentation.{name}_metrics']\n"
        f"sys.modules[{library!r}] = None\n"
        f"try: {name}()\n"
        "except ImportError as error: print(error.name)"
    )
    run = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(run, capture_output=True, text=True, check=False)  # noqa: S603 - own code
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{library}\n"


def test_make_the_hook_of_a_registry_in_several_threads_gives_one():
    """A registry refuses two metrics of a name."""
    for _ in range(50):
        registry = CollectorRegistry()
        with ThreadPoolExecutor(4) as threads:
            hooks = set(threads.map(prometheus, [registry] * 4))
        assert len(hooks) == 1


@pytest.mark.parametrize(("error", "timed"), [(BackendError, 0), (KeyboardInterrupt, 1)])
def test_wait_that_a_fallback_goes_on_with_is_timed_once(error, timed):
    """What decides in place of the store tells the whole wait."""
    registry = CollectorRegistry()
    manager = prometheus(registry)(Event("waiting", "api", 1, 2.0))
    with pytest.raises(error), manager:
        raise error
    labels = {"limiter": "api"}
    name = "rate_limiter_wait_duration_seconds_count"
    assert (registry.get_sample_value(name, labels) or 0) == timed
    assert registry.get_sample_value("rate_limiter_waiting", labels) == 0
