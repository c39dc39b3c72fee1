"""What a bucket is stored as: a number that takes the least room, or text where none can say it."""

from fractions import Fraction
from statistics import median

import pytest
from redis_worlds import full_at
from server_clock import EXPIRIES, ServerClock, put_on_clock

from rate_limiter import TokenBucket
from rate_limiter.redis import RedisTokenBucket

PER = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
DAY = 86_400
START = 1_790_000_000
ROOM = 64  # bytes that a key may take of the server, but for the prefix


@pytest.fixture
def clock(client, monkeypatch):
    """Stand still until told to move."""
    put_on_clock(monkeypatch)
    return ServerClock(client, start=START)


@pytest.fixture
def make_bucket(client, name, clock):
    """Make buckets that are full, on the same key."""

    def make_bucket(capacity, rate):
        client.delete(f"rate_limiter:{name}")
        return RedisTokenBucket(client, name, capacity, rate)

    return make_bucket


@pytest.fixture
def value(client, name):
    """Give a function that looks at what is stored."""
    return lambda: client.get(f"rate_limiter:{name}")


def microseconds(number, rate):
    """Read a number: how many microseconds its bucket needs until it is full."""
    part = number[4:6] if number[:1] in b"1234" else number[5:8]
    parts = Fraction(10**6, rate).denominator  # that a microsecond has
    return full_at(number, START * 10**6) - START * 10**6 + Fraction(int(part), parts)


@pytest.mark.parametrize("period", PER.values(), ids=PER)
@pytest.mark.parametrize("zeros", [1, 100])
def test_keep_a_limit_of_three_digits_in_a_number(make_bucket, value, zeros, period):
    """P3: Limits as people write them are kept in a number, to the last part of a microsecond."""
    for digits in (*range(1, 100), *range(101, 1_000, 53)):
        rate = Fraction(digits * zeros, period)
        bucket = make_bucket(7 * zeros, rate)

        for taken in (1, 2, 3, 3 + zeros):
            assert bucket.allow(zeros if taken > 3 else 1)
            assert (value().isdigit(), len(value())) == (True, 19)
            assert microseconds(value(), rate) == Fraction(taken * 10**6, rate)
        bucket.refund(1)
        assert microseconds(value(), rate) == Fraction((taken - 1) * 10**6, rate)


@pytest.mark.parametrize("rate", [5, 3, 97, 128, 3.33, Fraction(1000, DAY), Fraction(90_000, 60)])
def test_keep_a_number_takes_at_most_64_bytes(client, clock, rate):
    """P24: A bucket with a name of eight characters takes a server no more, but for the prefix."""
    taken, least = [], []
    for number in range(25):  # for an allocator gives more to one than to another
        key = f"rate_limiter:bytes-{number:02}"
        client.set(key, 10**9)
        least.append(client.memory_usage(key))
        client.delete(key)
        assert RedisTokenBucket(client, f"bytes-{number:02}", 100, rate).allow(7)
        assert client.object("encoding", key) == b"int"
        taken.append(client.memory_usage(key))
        client.delete(key)
    assert median(taken) == median(least)
    if client.info("memory")["mem_allocator"].startswith("jemalloc"):
        assert median(taken) - len("rate_limiter:") <= ROOM


@pytest.mark.parametrize("rate", [1234, 3.141, 1e-5, Fraction(1, 7), 99e9])
def test_keep_another_limit_as_text(make_bucket, clock, value, rate):
    """P3: A rate that takes more to say is kept as exactly."""
    bucket, local = make_bucket(7, rate), TokenBucket(7, rate, clock=clock)

    for _ in range(3):
        assert bucket.allow()
        assert local.allow()
        assert not value().isdigit()
    assert bucket.available_tokens == pytest.approx(local.available_tokens, rel=1e-12)


def test_charge_a_part_that_no_number_can_say_makes_text_until_it_is_whole(make_bucket, value):
    """P2: A seventh of a token at 5 per second is kept as exactly, in text."""
    bucket = make_bucket(10, 5)
    forms = []
    for tokens in (1, Fraction(1, 7), Fraction(2, 7), Fraction(4, 7), 1):
        assert bucket.allow(tokens)
        forms.append(value().isdigit())

    assert forms == [True, False, False, True, True]
    assert value() == b"1050" + b"00" + b"%013d" % ((START * 10**6 + 600_000) % 10**13)


@pytest.mark.parametrize("days", [Fraction(1, 10), Fraction(1, 8), 1, 11, 12, 100, 300, 3_000])
@pytest.mark.parametrize("daily", [1, 3, 11, 333])
def test_lack_what_takes_long_is_told_to_the_microsecond(make_bucket, clock, value, days, daily):
    """P30: Digits that come again every 115 days are not taken for what is years away."""
    bucket = make_bucket(daily * 3_650, Fraction(daily, DAY))

    assert bucket.allow(days * daily)
    taken = value()
    assert bucket.allow()
    bucket.refund(1)
    assert value() == taken

    full = (START + days * DAY) * 10**6
    assert full_at(value(), START * 10**6) == full
    assert value().isdigit() is (days <= (11.5 if daily < 100 else 0.115))
    clock.advance(days * DAY - 1)
    assert bucket.retry_after(daily * 3_650) == 1


@pytest.mark.parametrize(
    ("rate", "back"),
    [
        *((rate, back) for rate in (5, 3, Fraction(11, DAY)) for back in (1e-6, 1, DAY, 90 * DAY)),
        *((rate, back) for rate in (128, 3.14) for back in (1e-6, 1, 21 * 3_600)),
        *((rate, back) for rate in (1234, 3.141) for back in (1e-6, 1, DAY, 10_000 * DAY)),
    ],
)
def test_step_back_mints_nothing_and_recovers(make_bucket, clock, rate, back):
    """P8: A server's clock that is put back, by less than a day, leaves a bucket as it is."""
    bucket = make_bucket(10, rate)
    assert bucket.allow(10)
    wait = bucket.retry_after()

    clock.advance(-back)
    assert not bucket.allow(1e-6)
    assert bucket.retry_after() == pytest.approx(wait + back, abs=1.1e-6)

    clock.advance(back)
    assert bucket.retry_after() == wait
    clock.advance(wait)
    assert (bucket.allow(), bucket.allow()) == (True, False)


@pytest.mark.parametrize(("rate", "latest"), [(5, 10 * DAY), (5.55, 9_000)])
def test_read_a_number_late_finds_the_bucket_full(client, clock, name, rate, latest):
    """P4: A number that outlived its bucket's being full is not one to come."""
    bucket = RedisTokenBucket(client, name, 10, rate)
    assert bucket.allow(10)
    late = client.get(f"rate_limiter:{name}")

    for seconds in (0, latest / 10, latest * 0.85):
        clock.advance(seconds + 3)
        client.set(f"rate_limiter:{name}", late)
        client.delete(EXPIRIES)
        assert bucket.available_tokens == 10
        assert bucket.allow(10)
        assert not bucket.allow()


@pytest.mark.parametrize("second", [9_999_999, 1_789_999_999, 1_799_999_999, 10**9 - 1, 10**7 - 1])
@pytest.mark.parametrize("rate", [10, 7, Fraction(35, 60), 9.87])
def test_count_while_the_digits_begin_anew_loses_nothing(client, name, monkeypatch, second, rate):
    """P8: As 13 digits of a microsecond become zeros, a bucket stays as full as it is."""
    put_on_clock(monkeypatch)
    clock = ServerClock(client, start=second + Fraction(1, 2))
    bucket, local = RedisTokenBucket(client, name, 4, rate), TokenBucket(4, rate, clock=clock)

    for _ in range(40):
        assert bucket.allow() is local.allow()
        clock.advance(Fraction(1, 20))
        assert bucket.available_tokens == pytest.approx(local.available_tokens, abs=1e-5)


@pytest.mark.parametrize("old", [5, 3, Fraction(11, 60), 3.14, 1234, Fraction(543, 3_600)])
@pytest.mark.parametrize("new", [5, 7, Fraction(90_000, 60), Fraction(77, DAY), 2.72, 3.141])
def test_read_the_number_of_another_limit_keeps_the_tokens(client, clock, name, old, new):
    """P9: The digits say of which limit they are, and the parts of a microsecond count."""
    before = RedisTokenBucket(client, name, 10, old)
    assert before.allow(7)

    after = RedisTokenBucket(client, name, 10, new)

    assert after.available_tokens == pytest.approx(3, abs=float(new) * 2e-6)
    assert after.retry_after(10) == pytest.approx(7 / new, abs=2e-6)
    assert after.allow(3 - float(new) * 2e-6)
    assert not before.allow()
