"""Everything that can be decorated keeps what it is, and is charged once, at the right moment."""

import inspect
import typing

import function_cases  # noqa: F401 - fills the table
import method_cases  # noqa: F401 - fills the table
import pytest
from wrapping_cases import CASES, RAN, drive, words

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket
from rate_limiter.testing import ManualClock

KINDS = [
    callable,
    inspect.isabstract,
    inspect.isasyncgenfunction,
    inspect.isbuiltin,
    inspect.isclass,
    inspect.iscoroutinefunction,
    inspect.isfunction,
    inspect.isgeneratorfunction,
    inspect.ismethod,
]


@pytest.fixture
def limiter():
    return RateLimiter(TokenBucket(3, 1, clock=ManualClock()), block=False)


def of_cases(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


every_case = of_cases(CASES)
every_case_at_hand = of_cases({name: case for name, case in CASES.items() if case.outermost})
every_case_wrapped = of_cases(
    {name: case for name, case in CASES.items() if case.outermost and not case.in_place}
)


@every_case
def test_decorate_anything_keeps_its_kind(case, limiter):
    """What inspect says of a callable is the same with a limit as without."""
    plain, limited = case.build(lambda func: func), case.build(limiter)
    assert [kind(limited) for kind in KINDS] == [kind(plain) for kind in KINDS]


@every_case
def test_decorate_anything_keeps_its_names(case, limiter):
    """Name, module, docstring, annotations and signature are the same with a limit as without."""
    plain, limited = case.build(lambda func: func), case.build(limiter)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(limited, name, None) == getattr(plain, name, None)
    assert hasattr(limited, "__name__") == case.named
    assert inspect.signature(limited) == inspect.signature(plain)
    if inspect.isroutine(plain):
        assert typing.get_type_hints(limited) == typing.get_type_hints(plain)
        assert inspect.get_annotations(limited) == inspect.get_annotations(plain)


@every_case
def test_call_anything_returns_what_it_returned(case, limiter):
    """Arguments and results pass through unchanged, `self` and `cls` included."""
    plain, limited = case.build(lambda func: func), case.build(limiter)
    assert drive(case.call(limited)) == drive(case.call(plain))


@every_case
def test_call_anything_charges_once_when_it_begins_to_run(case, limiter):
    """Coroutines and generators are charged when they begin to run, the rest when called."""
    result = case.call(case.build(limiter))
    assert limiter.bucket.available_tokens == (3 if case.lazy else 2)
    drive(result)
    assert limiter.bucket.available_tokens == 2


@every_case
def test_call_anything_on_an_empty_bucket_does_not_run_it(case, limiter):
    """P5: A refused call raises, says when to come again, takes nothing, and does not run."""
    limited = case.build(limiter)
    for _ in range(3):
        drive(case.call(limited))
    ran = len(RAN)
    with pytest.raises(RateLimitExceeded) as refusal:
        drive(case.call(limited))
    assert (refusal.value.retry_after, refusal.value.tokens) == (1, 1)
    assert limiter.bucket.retry_after(3) == 3
    assert len(RAN) == ran


@every_case_at_hand
def test_look_for_limiter_on_anything_finds_it(case, limiter):
    """`.limiter` is there on functions, bound methods, classes and callable objects."""
    assert case.build(limiter).limiter is limiter


@every_case_wrapped
def test_look_for_wrapped_on_anything_finds_the_unlimited(case, limiter):
    """`__wrapped__` leads to what was decorated, as after functools.wraps."""
    unlimited = case.build(limiter).__wrapped__
    assert callable(unlimited)
    assert not hasattr(unlimited, "limiter")


@every_case
def test_price_anything_by_its_arguments_shows_them_to_cost(case, limiter):
    """A cost callable gets the call's arguments, after a `self` or `cls` that is not yet bound."""
    seen = []

    def price(*args, **kwargs):
        seen.append((*words(*args), *case.preset, *kwargs.values()))
        return 2

    result = drive(case.call(case.build(limiter.cost(price))))
    assert seen == [result[case.bound :]]
    assert limiter.bucket.available_tokens == 1
