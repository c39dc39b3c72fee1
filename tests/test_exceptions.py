"""What can be raised: what it carries, and that it travels between processes."""

import copy
import json
import math
import pickle
from types import MappingProxyType

import pytest

from each import each
from rate_limiter import BackendError, CostExceedsCapacity, RateLimitExceeded

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class QueueFull(RateLimitExceeded):
    """A user's own refusal, with an attribute of its own."""


@each(
    ("args", "kwargs", "expected"),
    [
        ((), {}, ("rate limit exceeded", None, None)),
        (("text",), {}, ("text", None, None)),
        ((), {"message": "text"}, ("text", None, None)),
        ((), {"retry_after": 1.5}, ("rate limit exceeded", 1.5, None)),
        (("text",), {"retry_after": 0.0, "tokens": 3}, ("text", 0.0, 3)),
    ],
)
def test_create_refusal_with_any_arguments_carries_them(args, kwargs, expected):
    """A refusal has a message, a time to retry and a cost, each with a default."""
    refusal = RateLimitExceeded(*args, **kwargs)

    assert (str(refusal), refusal.retry_after, refusal.tokens) == expected


def test_create_refusal_with_positional_details_raises_type_error():
    """The details are keywords, so that no two numbers can be swapped."""
    with pytest.raises(TypeError):
        RateLimitExceeded("text", 1.5)


@each("kind", [RateLimitExceeded, QueueFull])
@each("protocol", PROTOCOLS)
def test_pickle_refusal_keeps_everything_it_carries(kind, protocol):
    """P21: A refusal that travels to another process keeps its kind, message and details."""
    refusal = kind("text", retry_after=1.5, tokens=3)
    refusal.queue = "mail"

    loaded = pickle.loads(pickle.dumps(refusal, protocol))  # noqa: S301

    assert type(loaded) is kind
    assert str(loaded) == "text"
    assert (loaded.retry_after, loaded.tokens, loaded.queue) == (1.5, 3, "mail")


class Once:
    """What makes levels, and counts how often."""

    def __init__(self, **levels):
        self.levels = levels
        self.count = 0

    def __call__(self):
        self.count += 1
        return self.levels

    __reduce__ = None  # it holds on to live buckets


def refusal_of(kind, **details):
    details = {"tokens": {"a": 3}, "refused_by": "a", **details}
    if kind is not CostExceedsCapacity:
        details["retry_after"] = 1.5
    return kind("text", **details)


KINDS = [RateLimitExceeded, CostExceedsCapacity, QueueFull]
WAYS = [
    copy.copy,
    copy.deepcopy,
    *(lambda error, p=protocol: pickle.loads(pickle.dumps(error, p)) for protocol in PROTOCOLS),  # noqa: S301
]


@each("kind", KINDS)
@each("duplicate", WAYS)
@each("levels", [Once(a=1, b=2), MappingProxyType({"a": 1, "b": 2})])
def test_duplicate_refusal_of_a_group_keeps_its_levels(kind, duplicate, levels):
    """P21: Levels that were not asked for yet are made when a refusal is pickled or copied."""
    refusal = refusal_of(kind, levels=levels)
    loaded = duplicate(refusal)

    assert type(loaded) is kind
    assert (str(loaded), loaded.tokens, loaded.refused_by) == ("text", {"a": 3}, "a")
    assert loaded.levels == refusal.levels == {"a": 1, "b": 2}
    assert getattr(loaded, "retry_after", 1.5) == 1.5


@each("kind", KINDS)
def test_ask_refusal_for_levels_makes_them_once(kind):
    """P37: The levels of a refusal cost nothing until they are asked for, and stay the same."""
    make = Once(a=1)
    refusal = refusal_of(kind, levels=make)

    assert make.count == 0
    assert refusal.levels is refusal.levels is make.levels
    assert make.count == 1


@each("kind", KINDS)
@each("label", [None, "outer.inner", 0, 1])
def test_create_refusal_of_any_bucket_names_it(kind, label):
    """P37: A refusal tells which bucket of a group refused; unknown is None, or empty."""
    assert refusal_of(kind, refused_by=label).refused_by == label
    assert (kind("x").refused_by, kind("x").levels, kind("x").tokens) == (None, {}, None)


class Curt(RateLimitExceeded):
    """A user's own refusal, which leaves out what its base does."""

    def __init__(self, text):
        Exception.__init__(self, text)


def test_pickle_refusal_of_a_user_that_leaves_out_details():
    """P21: A subclass that does not call its base's initializer has levels, and travels."""
    assert Curt("text").levels == {}
    assert str(pickle.loads(pickle.dumps(Curt("text")))) == "text"  # noqa: S301


def test_create_refusals_do_not_share_their_levels():
    """P37: What somebody writes into the levels of one refusal is in no other."""
    assert RateLimitExceeded().levels is not RateLimitExceeded().levels


@each(
    ("seconds", "form", "text"),
    [
        (0.43, ".0f", "1"),
        (1e-9, ".0f", "1"),
        (5e-324, ".3f", "0.001"),
        (0.0, ".0f", "0"),
        (1.0, ".0f", "1"),
        (1.5, ".1f", "1.5"),
        (1.25, ".1f", "1.3"),
        (0.1, ".1f", "0.1"),
        (0.11, ".1f", "0.2"),
        (0.1 + 1e-9, ".1f", "0.2"),
        (math.nextafter(4.8, 5), ".1f", "4.8"),
        (math.nextafter(4.8, 4), ".1f", "4.8"),
        (0.1, ".20f", "0.10000000000000000555"),
        (1234.0001, ",.0f", "1,235"),
        (2.5, ">6.0F", "     3"),
        (0.1, ".999f", f"{0.1:.999f}"),
        (1.7e308, ".999f", f"{1.7e308:.999f}"),
        (math.inf, ".0f", "inf"),
        (0.43, "", "0.43"),
        (0.43, ".1g", "0.4"),
        (3, ".0f", "3"),
    ],
)
def test_write_retry_after_with_decimals_rounds_up(seconds, form, text):
    """P6: However few decimals a retry is told with, it is not told too early."""
    assert format(RateLimitExceeded(retry_after=seconds).retry_after, form) == text


@each("seconds", [5e-324, 1e-9, 0.43, 1.7e308, math.inf])
def test_carry_retry_after_changes_nothing(seconds):
    """P6: What is above 0 stays above 0, and the same number, also in a copy and as text."""
    refusal = RateLimitExceeded(retry_after=seconds)
    loaded = pickle.loads(pickle.dumps(refusal))  # noqa: S301

    assert refusal.retry_after == loaded.retry_after == seconds > 0
    assert repr(loaded.retry_after) == str(loaded.retry_after) == repr(seconds)
    assert json.dumps(loaded.retry_after) == json.dumps(seconds)
    assert f"{loaded.retry_after:.0f}" == f"{refusal.retry_after:.0f}" != "0"


@each("duplicate", [copy.copy, copy.deepcopy])
def test_copy_refusal_keeps_everything_it_carries(duplicate):
    """P21: A copied refusal, as executors and loggers make them, says the same."""
    refusal = duplicate(RateLimitExceeded(retry_after=0.25, tokens=2))

    assert (str(refusal), refusal.retry_after, refusal.tokens) == ("rate limit exceeded", 0.25, 2)


@each("kind", [CostExceedsCapacity, BackendError])
def test_pickle_other_errors_keeps_their_message(kind):
    """P21: Every error of the package travels to another process."""
    loaded = pickle.loads(pickle.dumps(kind("text")))  # noqa: S301

    assert (type(loaded), str(loaded)) == (kind, "text")


@each(
    ("kind", "ancestor", "related"),
    [
        (CostExceedsCapacity, ValueError, True),
        (CostExceedsCapacity, RateLimitExceeded, False),
        (RateLimitExceeded, ValueError, False),
        (RateLimitExceeded, OSError, False),
        (BackendError, RateLimitExceeded, False),
    ],
)
def test_catch_one_kind_of_error_takes_no_other(kind, ancestor, related):
    """A cost that can never be paid is a mistake in a value; a refusal and a failure are not."""
    assert issubclass(kind, ancestor) is related
