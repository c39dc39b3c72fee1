"""The calls and examples that must keep working as they stand, under both import forms."""

import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from original_readme.documented import BLOCKS, FORMS, ROOT, World, web_server
from original_readme.outcomes import MADE, OUTCOMES, THREADED_OUTCOMES

SIGNATURES = [f"signature: {name}" for name in ("TokenBucket", "allow", "wait", "try_consume")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with web_server() as address:
        yield address


@pytest.fixture(params=FORMS)
def world(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    world = World(request.param, address)
    monkeypatch.setattr(world.bucket_module, "SYSTEM_CLOCK", world.clock)
    return world


def test_read_blocks_finds_those_that_are_tested() -> None:
    """No block is left out."""
    assert set(BLOCKS) == {*OUTCOMES, *THREADED_OUTCOMES, *SIGNATURES}
    assert len(BLOCKS) == 27


@pytest.mark.parametrize("name", OUTCOMES)
def test_run_example_as_written_has_its_stated_outcome(world: World, name: str) -> None:
    """Each example prints, calls and waits as it says."""
    printed, called, seconds = OUTCOMES[name]
    world.run(name)
    assert (world.printed, world.called) == (printed, called)
    assert world.clock.elapsed == pytest.approx(seconds)


@pytest.mark.parametrize("name", THREADED_OUTCOMES)
def test_run_threads_as_written_share_one_limit(world: World, name: str) -> None:
    """P1: The threads of each example get what one bucket holds, together."""
    counts, seconds = THREADED_OUTCOMES[name]
    world.modules["time"] = SimpleNamespace(sleep=lambda _: None)
    world.run(name)
    kinds = [re.sub(r"(Request|Worker|operation|token) \d+", r"\1", line) for line in world.printed]
    assert Counter(kinds) == counts
    assert len(set(world.printed)) == len(world.printed)
    assert world.clock.elapsed == pytest.approx(seconds)


@pytest.mark.parametrize("name", MADE)
def test_make_bucket_as_written_has_those_terms(world: World, name: str) -> None:
    """A bucket shows the capacity and the rate that it was made with."""
    world.run(name)
    assert [(made.capacity, made.tokens_per_second) for made in world.made] == MADE[name]


@pytest.mark.parametrize("name", [name for name in BLOCKS if "import TokenBucket" in BLOCKS[name]])
def test_import_class_as_written_finds_it(world: World, name: str) -> None:
    """The class comes from the form that was imported."""
    assert world.run(name).TokenBucket is world.bucket_module.TokenBucket


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_as_written_is_the_first_part_of_ours(world: World, name: str) -> None:
    """What is documented can be called as documented; what came later is optional."""
    source, function_name = BLOCKS[name].strip(), name.removeprefix("signature: ")
    namespace: dict[str, Any] = {}
    definition = f"from __future__ import annotations\ndef {source}: ..."
    exec(definition, namespace)  # noqa: S102 - the blocks are ours
    documented = inspect.signature(namespace[function_name])
    bucket_class = world.bucket_module.TokenBucket
    ours = inspect.signature(getattr(bucket_class(1, 1), function_name, bucket_class))
    wanted, found = map(_shape, (documented, ours))
    assert found[: len(wanted)] == wanted
    assert all(default is not inspect.Parameter.empty for *_, default in found[len(wanted) :])
    if function_name != "TokenBucket":
        assert ours.return_annotation == documented.return_annotation


def _shape(signature: inspect.Signature) -> list[tuple[Any, ...]]:
    return [(some.name, some.kind, some.default) for some in signature.parameters.values()]


def test_refuse_in_a_function_when_empty_raises_its_own_error(world: World) -> None:
    """Five calls are served at once, and the sixth gets the error of the function itself."""
    get_data = world.run("refuse in a function").get_data
    assert [get_data() for _ in range(5)] == ["result of fetch_data"] * 5
    with pytest.raises(Exception, match="Rate limited, retry later"):
        get_data()


def test_wait_in_a_function_when_empty_waits(world: World) -> None:
    """Five calls are served at once, and the sixth after a fifth of a second."""
    get_data = world.run("wait in a function").get_data
    assert [get_data() for _ in range(5)] == ["result of fetch_data"] * 5
    assert world.clock.elapsed == 0
    assert get_data() == "result of fetch_data"
    assert world.clock.elapsed == pytest.approx(0.2)


def test_wait_for_more_than_the_capacity_takes_a_second(world: World) -> None:
    """P1: Ten tokens from a bucket of five are there when all ten have accrued."""
    world.run("wait for more than the capacity")
    assert world.printed_at == pytest.approx([0, 0.1, 1.1])


@pytest.mark.parametrize(("work", "seconds"), [(0, 9), (0.05, 9.05), (0.1, 10), (0.2, 20)])
def test_hundred_requests_take_at_least_nine_seconds(
    world: World, work: float, seconds: float
) -> None:
    """P1, P3: A hundred requests at ten a second, ten of them at once, take nine seconds."""
    world.modules["time"] = SimpleNamespace(sleep=lambda _: world.clock.advance(work))
    world.run("hundred requests in a row")
    assert world.clock.elapsed == pytest.approx(seconds)
    for at in world.printed_at:
        within = [other for other in world.printed_at if at <= other < at + 1]
        assert len(within) <= 10 + 10


def test_guard_a_web_request_refuses_beyond_its_limit(world: World) -> None:
    """P2: Fifty at once, then a hundred a minute."""
    fetch_data = world.run("guard a web request").fetch_data
    refusal = {"error": "Rate limited, try again in a moment"}
    assert [fetch_data(user_id) for user_id in range(49)] == [{"id": n} for n in range(49)]
    assert fetch_data(49) == refusal
    world.clock.advance(0.6)
    assert [fetch_data(49), fetch_data(50)] == [{"id": 49}, refusal]


def test_web_request_when_the_server_is_away_reports_the_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in fails as the real module does, in the way that the example handles."""

    def fail(url: str, timeout: float) -> None:
        raise world.modules["requests"].RequestException("no route")

    monkeypatch.setattr(world.modules["requests"], "get", fail)
    world.run("threads: web requests")
    assert sum(line.endswith("failed: no route") for line in world.printed) == 5


@pytest.mark.parametrize(
    ("level", "called", "seconds"),
    [(0, ["handle_rate_limit", "do_work"], 1), (1, ["do_work", "do_work"], 1)],
)
def test_refuse_or_wait_does_the_work_when_it_may(
    world: World, level: int, called: list[str], seconds: float
) -> None:
    """What asks may be refused; what waits is served."""
    bucket = world.make(1, 1, initial_tokens=level)
    world.run("refuse or wait", limiter=bucket)
    assert (world.called, world.clock.elapsed) == (called, pytest.approx(seconds))


def test_raise_the_exception_when_tokens_are_there_prints_nothing(world: World) -> None:
    """The example raises only when it is refused."""
    world.run("raise the exception", limiter=world.make(1, 1))
    assert world.printed == []


def test_operations_of_different_cost_when_few_are_left_run_if_they_fit(world: World) -> None:
    """P5: A refused operation leaves its tokens to smaller ones."""
    make = partial(world.make, initial_tokens=8)
    world.run("operations of different cost", TokenBucket=make)
    assert world.called == ["light_operation", "medium_operation"]
    assert world.made[0].available_tokens == 2


def test_one_bucket_for_each_call_limits_nothing(world: World) -> None:
    """The example that is marked as bad is: its last function never refuses."""
    handle_request = world.run("one bucket or one for each call").handle_request
    for _ in range(150):
        handle_request("request")
    assert world.called == ["process"] * 150


def test_exception_as_written_has_our_bases_and_text(world: World) -> None:
    """The class is a plain Exception that carries its text."""
    documented = world.run("the exception").RateLimitExceeded
    ours = world.exceptions_module.RateLimitExceeded
    assert issubclass(ours, Exception)
    assert ours.__mro__[1:] == documented.__mro__[1:]
    assert str(ours("Rate limit exceeded")) == str(documented("Rate limit exceeded"))


def test_level_over_time_follows_the_picture(world: World) -> None:
    """P4: Five tokens less three are two, four a second later, and five at the most."""
    bucket = world.make(capacity=5, tokens_per_second=2)
    levels = [bucket.available_tokens]
    assert bucket.allow(3)
    levels.append(bucket.available_tokens)
    for seconds in (1, 2):
        world.clock.advance(seconds)
        levels.append(bucket.available_tokens)
    assert levels == [5, 2, 4, 5]
    assert [bucket.allow(5), bucket.allow()] == [True, False]


def test_allow_at_once_serves_the_capacity_and_then_the_rate(world: World) -> None:
    """P2: A bucket of ten serves ten at once, and the next after half a second."""
    bucket = world.make(capacity=10, tokens_per_second=2)
    assert [bucket.allow() for _ in range(11)] == [True] * 10 + [False]
    bucket.wait()
    assert world.clock.elapsed == pytest.approx(0.5)


@pytest.mark.parametrize("tokens", [0, -1])
@pytest.mark.parametrize("method", ["allow", "wait", "try_consume"])
def test_take_what_is_not_positive_raises(world: World, method: str, tokens: int) -> None:
    """P22: No method takes nothing, or less."""
    bucket = world.make(5, 5)
    with pytest.raises(ValueError, match="tokens must be"):
        getattr(bucket, method)(tokens)
    assert bucket.available_tokens == 5


@pytest.mark.parametrize("terms", [(0, 5), (-1, 5), (5, 0), (5, -1)])
def test_make_bucket_of_what_is_not_positive_raises(
    world: World, terms: tuple[float, float]
) -> None:
    """P22: Neither the capacity nor the rate may be nothing, or less."""
    with pytest.raises(ValueError, match="must be"):
        world.make(*terms)


@pytest.mark.parametrize("form", FORMS)
def test_import_form_in_a_fresh_interpreter_works(form: str) -> None:
    """Both forms work in an interpreter started at the repository root, each without the other."""
    code = (
        "import sys\n"
        f"from {form}.token_bucket import TokenBucket\n"
        f"from {form}.exceptions import RateLimitExceeded\n"
        "print(TokenBucket(capacity=10, tokens_per_second=5).allow(), RateLimitExceeded('text'))\n"
        "print(*(name for name in sys.modules if name.endswith('rate_limiter')))"
    )
    run = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
        timeout=30,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, f"True text\n{form}\n", "")
