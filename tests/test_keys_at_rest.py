"""Keys of which only an integer is kept: which they are, and how they come into use and go back."""

import asyncio
import dis
import gc
import subprocess
import sys
import threading
import tracemalloc

import pytest

from rate_limiter import KeyedRateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.instrumentation import set_hooks
from rate_limiter.memory import at_rest
from rate_limiter.memory.at_rest import KeysAtRest
from rate_limiter.testing import ManualClock
from rate_limiter.units import read_limit

pytestmark = pytest.mark.fast_path


@pytest.fixture(autouse=True)
def _as_without_a_tracer(monkeypatch):
    """Take keys at rest as fast as ever, also while coverage is measured."""
    monkeypatch.setattr(at_rest, "gettrace", lambda: None)


@pytest.fixture
def clock():
    return ManualClock()


class Own(str):
    """A key that equals a string, by code of the user's."""

    __slots__ = ()

    def __hash__(self):
        return str.__hash__(self)

    def __eq__(self, other):
        return str.__eq__(self, other)


def decorated(clock, capacity=2, **options):
    """Return a function that pays for the key that it is given."""
    options = {"block": False} | options
    return rate_limited(capacity, 1, key=lambda key: key, clock=clock, **options)(lambda key: True)


def resting(limiters):
    """Return the keys that are at rest."""
    return list(limiters._keys.full_at)


def in_use(limiters):
    """Return the keys that have a bucket."""
    return [entry.key for entry in limiters._all()]


def lay_to_rest(limiters):
    """Look at all keys in use until those that nobody needs are at rest, as new keys would."""
    gc.collect()
    for _ in range(2):
        for entry in limiters._all():
            limiters._drop_if_idle(entry)


def admitted(call, key):
    """Count how many calls are admitted until one is refused."""
    count = 0
    try:
        while call(key):
            count += 1
    except RateLimitExceeded:
        return count


def test_call_with_a_key_makes_no_bucket(clock):
    """P24: A key that was called for is at rest, at its first call and at the others."""
    call = decorated(clock, capacity=3)
    assert [call("ada"), call("ada"), call("bob")] == [True] * 3
    assert (resting(call.limiter), in_use(call.limiter)) == (["ada", "bob"], [])
    assert (len(call.limiter), admitted(call, "ada"), admitted(call, "bob")) == (2, 1, 2)


@pytest.mark.parametrize(
    ("key", "rests"),
    [
        *[(key, True) for key in ("a", 1, 1.5, True, None, b"a", (), ("a", 1), (None, b"", 2.0))],
        *[(key, False) for key in (Own("a"), object(), ("a", Own("a")), (("a",),), frozenset())],
    ],
)
def test_call_with_a_key_of_a_type_of_the_users_keeps_a_bucket(clock, key, rests):
    """P38: Only keys whose hash and comparison are the interpreter's are looked up in a step."""
    call = decorated(clock)
    assert admitted(call, key) == 2
    lay_to_rest(call.limiter)
    assert resting(call.limiter) == [key] * rests
    assert in_use(call.limiter) == [key] * (not rests)
    assert admitted(call, key) == 0


@pytest.mark.parametrize("own_first", [True, False])
def test_call_with_equal_keys_of_two_types_is_one_key(clock, own_first):
    """P25: A string at rest and what equals it by the user's code have one bucket."""
    call = decorated(clock)
    keys = [Own("ada"), "ada"] if own_first else ["ada", Own("ada")]
    assert [call(key) for key in keys] == [True, True]
    assert call.limiter[keys[0]] is call.limiter[keys[1]]
    assert (admitted(call, "ada"), admitted(call, Own("ada")), len(call.limiter)) == (0, 0, 1)
    lay_to_rest(call.limiter)
    call.limiter.reset(Own("ada"))
    assert (admitted(call, Own("ada")), len(call.limiter)) == (2, 1)


def test_add_a_key_whose_equal_comes_to_rest_meanwhile_finds_it(clock, monkeypatch):
    """P25: Between the look for an equal key and the step that adds one, it may have come."""
    call = decorated(clock)
    call("other")
    limiters, insert = call.limiter, call.limiter._insert

    def late(*args):
        monkeypatch.setattr(limiters, "_insert", insert)
        assert call("ada")
        return insert(*args)

    monkeypatch.setattr(limiters, "_insert", late)
    assert limiters[Own("ada")].bucket.available_tokens == 1
    assert len(limiters) == 2


def test_refuse_a_key_gives_it_a_bucket_until_it_is_idle(clock):
    """P24: A refused key has a bucket, whose level goes with it back to rest, debts included."""
    call = decorated(clock)
    assert admitted(call, "ada") == 2
    assert in_use(call.limiter) == ["ada"]
    with call.limiter["bob"].acquire(2) as permit:
        permit.settle(5)
    del permit
    lay_to_rest(call.limiter)
    assert (in_use(call.limiter), sorted(resting(call.limiter))) == ([], ["ada", "bob"])
    clock.advance(1)
    assert (admitted(call, "ada"), admitted(call, "bob")) == (1, 0)
    assert call.limiter["bob"].bucket.retry_after() == 3


def test_use_a_key_again_keeps_its_bucket(clock):
    """P24: A key that is used between two looks at it is not laid to rest."""
    limiters = KeyedRateLimiter.from_rate("9/second", clock=clock)
    for _ in range(5):
        limiters["ada"].bucket.allow()
        limiters._drop_if_idle(limiters._find("ada"))
    assert in_use(limiters) == ["ada"]


def test_hold_a_key_keeps_its_bucket_the_one_truth(clock):
    """P24: While somebody holds a bucket, calls of its key pay there."""
    call = decorated(clock)
    call("ada")
    bucket = call.limiter["ada"].bucket
    lay_to_rest(call.limiter)
    assert (bucket.available_tokens, admitted(call, "ada"), bucket.available_tokens) == (1, 1, 0)
    assert call.limiter["ada"].bucket is bucket


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda bucket: bucket.pause(5), lambda bucket: bucket.resume()),
        (lambda bucket: bucket.configure(capacity=7), lambda bucket: bucket.configure(capacity=1)),
    ],
    ids=["pause", "another limit"],
)
def test_change_a_key_keeps_its_bucket(clock, change, back):
    """P24: A bucket that is more than an integer, or of another limit, is kept until it is full."""
    call = decorated(clock, capacity=2)
    call("ada")
    change(call.limiter["ada"].bucket)
    lay_to_rest(call.limiter)
    assert in_use(call.limiter) == ["ada"]
    back(call.limiter["ada"].bucket)
    clock.advance(9)
    lay_to_rest(call.limiter)
    assert len(call.limiter) == 0


def test_wait_for_a_key_stands_in_line_and_then_rests(clock):
    """P11: Who comes while somebody waits for a key stands behind, and then the key is at rest."""
    call, order = decorated(clock, capacity=1, block=True), []
    call("ada")

    def wait(number):
        call("ada")
        order.append(number)

    waiting = []
    for number in range(3):
        waiting.append(threading.Thread(target=wait, args=(number,), daemon=True))
        waiting[-1].start()
        clock.wait_for_sleepers(number + 1)
    assert call.limiter["ada"].bucket.level.waiting == 3
    for number in range(3):
        clock.advance(1)
        waiting[number].join(10)
    assert order == [0, 1, 2]
    lay_to_rest(call.limiter)
    assert resting(call.limiter) == ["ada"]


@pytest.mark.parametrize("kind", ["coroutine", "hands on"])
def test_call_from_a_task_takes_at_rest(clock, kind):
    """P24: Coroutine functions, and functions that return what they do, take at rest as well."""

    async def fetch(key):
        return key

    limited = rate_limited(2, 1, key=lambda key: key, clock=clock)
    if kind == "coroutine":
        call = limited(fetch)
    else:

        def hand_on(key):
            return fetch(key)

        hand_on.__wrapped__ = fetch
        call = limited(hand_on)

    async def main():
        return await call("ada"), await call("ada")

    assert asyncio.run(main()) == ("ada", "ada")
    assert (resting(call.limiter), in_use(call.limiter)) == (["ada"], [])


def test_hook_for_admissions_hears_of_every_key(clock):
    """P45: While a hook is told of admissions, no key is taken past it."""
    call, heard = decorated(clock, name="calls"), []

    def hook(event):
        heard.append((event.kind, event.tokens))

    call("ada")
    hook.admitted = True
    set_hooks([hook])
    try:
        call("ada")
        call("bob")
    finally:
        set_hooks([])
    assert heard == [("admitted", 1)] * 2
    assert admitted(call, "ada") == 0


def test_refuse_what_is_no_cost_adds_no_key(clock):
    """P22: A cost that is none is refused as everywhere, and leaves no key behind."""
    call = rate_limited(2, 1, lambda key: -1, key=lambda key: key, clock=clock)(len)
    with pytest.raises(ValueError, match="tokens must be above 0"):
        call("ada")
    assert len(call.limiter) == 0


def test_add_keys_beyond_max_keys_tells_when_one_at_rest_goes(clock):
    """P24: No key at rest is forgotten before it is full, and each then makes room."""
    limiters = KeyedRateLimiter.from_rate("1/second", 5, max_keys=3, block=False, clock=clock)
    for key, cost in (("a", 3), ("b", 2), ("c", 5)):
        assert limiters._take_at_rest(key, cost)
    assert not limiters._take_at_rest("new", 1)
    with pytest.raises(RateLimitExceeded, match="max_keys=3") as caught:
        limiters["new"]
    assert caught.value.retry_after == 2
    clock.advance(2)
    assert limiters["new"].bucket.allow(5)
    assert len(limiters) == 3
    assert limiters["a"].bucket.available_tokens == 4
    clock.advance(1)
    assert limiters["next"].bucket.allow()
    assert len(limiters) == 3
    with pytest.raises(RateLimitExceeded) as caught:
        limiters["last"]
    assert caught.value.retry_after == 1


def test_add_keys_while_it_is_crowded_notes_those_at_rest(clock):
    """P24: A key that came to rest while it was crowded makes room in its turn."""
    limiters = KeyedRateLimiter.from_rate("1/second", 5, max_keys=20, block=False, clock=clock)
    for key in range(20):
        assert limiters._take_at_rest(key, 1 if key < 5 else 5)
    with pytest.raises(RateLimitExceeded):
        limiters["new"]
    clock.advance(1)
    limiters["one"].bucket.allow()
    for key in range(100, 104):
        assert limiters._take_at_rest(key, 2) or limiters[key].bucket.allow(2)
    lay_to_rest(limiters)
    with pytest.raises(RateLimitExceeded) as caught:
        limiters["new"]
    assert caught.value.retry_after == 1
    clock.advance(1)
    assert limiters["new"].bucket.allow()


def test_drop_the_first_when_another_thread_did_is_no_error(clock):
    """P18: Threads that look for room at once may take what the other was about to."""
    limiters = KeyedRateLimiter.from_rate("1/second", clock=clock)
    assert limiters._drop_first(0) == []


def test_flood_with_one_shot_calls_keeps_those_in_use(clock):
    """P24: At 1,000 keys a second, each in use for a second, about 1,000 are there at any time."""
    call, sizes = decorated(clock, capacity=1), []
    for key in range(20_000):
        assert call(key)
        clock.advance(0.001)
        sizes.append(len(call.limiter))
    assert min(sizes[1_000:]) >= 1_000
    assert max(sizes[2_000:]) <= 1_300


def test_flood_never_refills_a_key_at_rest(clock):
    """P24: However many new keys come, a victim gets what its own tokens accrue and no more."""
    call, served = decorated(clock, capacity=1), []
    for key in range(3_000):
        call(key)
        served += [key] * admitted(call, "victim")
        clock.advance(0.001)
    assert served == [0, 1_000, 2_000]


def test_flood_lays_to_rest_keys_that_were_refused(clock):
    """P24: New keys at rest have those looked at that have a bucket."""
    call = decorated(clock, capacity=1)
    for key in range(50):
        admitted(call, key)
    gc.collect()
    for key in range(100, 400):
        call(key)
    assert in_use(call.limiter) == []
    assert len(call.limiter) == 350


def test_reset_a_key_at_rest_fills_it(clock):
    """A key at rest that is reset is full, as one with a bucket."""
    call = decorated(clock)
    call("ada")
    call.limiter.reset("ada")
    call.limiter.reset("nobody")
    assert (resting(call.limiter), admitted(call, "ada")) == (["ada"], 2)


def test_reset_a_key_that_comes_into_use_meanwhile_resets_its_bucket(clock, monkeypatch):
    """A key that leaves its rest while it is being reset is looked for again."""
    call = decorated(clock)
    call("ada")
    limiters, fill, held = call.limiter, call.limiter._fill, []

    def late(*args):
        held.append(limiters["ada"].bucket)
        return fill(*args)

    monkeypatch.setattr(limiters, "_fill", late)
    limiters.reset("ada")
    assert [bucket.available_tokens for bucket in held] == [2]


def test_list_keys_at_rest_while_a_finalizer_changes_them_reads_again(clock):
    """P19: The keys at rest are read anew when they changed under the reader."""

    class Changing(dict):
        failures = 1

        def __iter__(self):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

        keys = None

    call = decorated(clock)
    call("ada")
    call.limiter._keys.full_at = Changing(dict(call.limiter._keys.full_at))
    assert call.limiter._keys.listed() == ["ada"]


def test_put_a_clock_under_keys_at_rest_begins_anew(clock):
    """Under another clock every key is full; after it, all have the tokens that they had."""
    call = decorated(clock)
    assert admitted(call, "ada") == 2
    with ManualClock(start=1_000).under(call) as other:
        assert (admitted(call, "ada"), admitted(call, "bob")) == (2, 2)
        lay_to_rest(call.limiter)
        other.advance(1)
        assert admitted(call, "ada") == 1
    assert (admitted(call, "ada"), len(call.limiter)) == (0, 1)


@pytest.mark.no_cover
def test_keep_a_key_at_rest_takes_at_most_130_bytes():
    """P24: All that a key at rest adds to memory, besides itself, is 130 bytes."""
    count = 44_000  # just after the dictionary has grown, when it is emptiest
    keys = [f"user-{number}" for number in range(count)]
    call = decorated(ManualClock(start=10**6))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            call(key)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(call.limiter) == count
    assert used / count <= 130


def test_compare_bytes_when_python_warns_of_it_runs_no_code():
    """P38: With `python -bb` bytes that meet a string are compared outside of steps."""
    program = (
        "from rate_limiter import rate_limited\n"
        "call = rate_limited(1, 1, key=lambda key: key, block=False)(len)\n"
        "print(call(b'ab'), call(b'cd'), len(call.limiter._keys.full_at))\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-bb", "-c", program], capture_output=True, check=False, text=True
    )
    assert (done.stdout, done.stderr) == ("2 2 0\n", "")


def test_take_at_rest_calls_nothing_between_question_and_change():
    """P18: No thread, handler or finalizer comes in on the lines that take from a key at rest."""
    code = list(dis.get_instructions(KeysAtRest.take))
    changes = {one.positions.lineno for one in code if one.opname == "STORE_SUBSCR"}
    assert len(changes) == 2
    of_lines = {one.opname for one in code if one.positions.lineno in changes}
    assert not {name for name in of_lines if "CALL" in name or "BACKWARD" in name}


@pytest.fixture
def _fast_switching():
    """Have the interpreter switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_threads(work, count=4):
    """Run a function in several threads at once, and return what each returned."""
    results, barrier = [None] * count, threading.Barrier(count)

    def run(number):
        barrier.wait(20)
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.usefixtures("_fast_switching")
def test_take_keys_from_threads_is_counted_exactly(clock):
    """P18: Whatever goes to rest and comes into use meanwhile, each key gives what it holds."""
    call = decorated(clock, capacity=1_000)
    limiters = call.limiter

    def work(number):
        counts = dict.fromkeys("abc", 0)
        for turn in range(1_500):
            key = "abc"[turn % 3]
            try:
                if turn % 7 == number:
                    counts[key] += limiters[key].bucket.allow()
                else:
                    counts[key] += call(key)
            except RateLimitExceeded:
                pass
            if turn % 40 == 0:
                call((number, turn))
        return counts

    results = run_threads(work)
    assert [sum(counts[key] for counts in results) for key in "abc"] == [1_000] * 3
    assert len(limiters) == 3 + 4 * 38
    assert len(limiters) == len(resting(limiters)) + len(in_use(limiters))


@pytest.mark.usefixtures("_fast_switching")
def test_take_new_keys_from_threads_takes_each_once(clock):
    """P25: Of threads that come for a new key at once one is admitted, and all keys are counted."""
    call = decorated(clock, capacity=1)

    def work(number):
        return sum(admitted(call, key) or 0 for key in range(300))

    assert sum(run_threads(work)) == 300
    assert len(call.limiter) == len(resting(call.limiter)) + len(in_use(call.limiter)) == 300


@pytest.mark.usefixtures("_fast_switching")
def test_take_new_keys_from_threads_keeps_to_max_keys(clock):
    """P24: Threads that add keys at once add no more than there may be."""
    limiters = KeyedRateLimiter.from_rate("1/second", max_keys=100, block=False, clock=clock)

    def work(number):
        added = 0
        for key in range(200):
            try:
                if limiters._take_at_rest((number, key), 1) or limiters[number, key].bucket.allow():
                    added += 1
            except RateLimitExceeded:
                continue
        return added

    assert sum(run_threads(work)) == len(limiters) == 100


def test_take_at_rest_keeps_off_while_a_step_is_under_way(clock, monkeypatch):
    """P19: What comes in amid a step does not take past it."""
    keys = KeysAtRest(read_limit(2, 1), clock.now, 9)
    assert keys.take("ada", 1) == at_rest.ADDED
    monkeypatch.setattr(at_rest.JOURNAL, "busy", True)
    assert (keys.take("ada", 1), keys.take("bob", 1), keys.count) == (0, 0, 1)
    monkeypatch.setattr(at_rest.JOURNAL, "busy", False)
    assert keys.take("ada", 1) == at_rest.TAKEN


def test_ask_for_a_key_without_a_known_limit_is_not_answered(clock):
    """Of limiters whose buckets a user makes no key is at rest."""
    limiters = KeyedRateLimiter(lambda: TokenBucket(1, 1, clock=clock))
    assert not limiters._take_at_rest("ada", 1)
    assert limiters["ada"].bucket.allow()
    assert (resting(limiters), limiters._keys.full_in("ada", 0)) == ([], None)
