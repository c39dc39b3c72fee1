"""What can be raised: what it carries, and that it travels between processes."""

import copy
import pickle

import pytest

from rate_limiter import BackendError, CostExceedsCapacity, RateLimitExceeded

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class QueueFull(RateLimitExceeded):
    """A user's own refusal, with an attribute of its own."""


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("kind", [RateLimitExceeded, QueueFull])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickle_refusal_keeps_everything_it_carries(kind, protocol):
    """P21: A refusal that travels to another process keeps its kind, message and details."""
    refusal = kind("text", retry_after=1.5, tokens=3)
    refusal.queue = "mail"

    loaded = pickle.loads(pickle.dumps(refusal, protocol))  # noqa: S301

    assert type(loaded) is kind
    assert str(loaded) == "text"
    assert vars(loaded) == {"retry_after": 1.5, "tokens": 3, "queue": "mail"}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copy_refusal_keeps_everything_it_carries(duplicate):
    """P21: A copied refusal, as executors and loggers make them, says the same."""
    refusal = duplicate(RateLimitExceeded(retry_after=0.25, tokens=2))

    assert (str(refusal), refusal.retry_after, refusal.tokens) == ("rate limit exceeded", 0.25, 2)


@pytest.mark.parametrize("kind", [CostExceedsCapacity, BackendError])
def test_pickle_other_errors_keeps_their_message(kind):
    """P21: Every error of the package travels to another process."""
    loaded = pickle.loads(pickle.dumps(kind("text")))  # noqa: S301

    assert (type(loaded), str(loaded)) == (kind, "text")


@pytest.mark.parametrize(
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
