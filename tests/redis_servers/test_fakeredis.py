"""The script on the server that tests of applications have."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from script_twins import without_fast_path

from rate_limiter.redis.script import SOURCE, answer_of, request, sha_of
from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.store import NOWHERE, Limit, Question
from rate_limiter.shared.terms import Terms

NOW = 1_790_000_000_123_457
LIMITS = [Limit(b"one", Terms(10, 3)), Limit(b"two", Terms(4, 0.2))]


@pytest.fixture(params=[SOURCE, without_fast_path()], ids=["fast", "slow"])
def ask(request):
    """Put questions to the script on a server of the test's own, without a connection."""
    import fakeredis

    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    client.script_load(request.param)
    return partial(put, client, sha_of(request.param))


def put(client, sha, operation, *tokens, longest=0, place=NOWHERE, now=None):
    """Return what is answered, and what is kept."""
    charges = [
        (limit, limit.terms.unit * each) for limit, each in zip(LIMITS, tokens, strict=False)
    ]
    question = Question(operation, charges, longest, place=place, now=now)
    replied = answer_of(client.execute_command(*request(question, sha)), question)
    texts = client.mget([limit.key for limit, _ in charges])
    return question, replied, [said(text) for text in texts]


def said(text):
    """Return what a value says: one of the first microsecond says nothing, and goes soon."""
    return None if text is None or text.startswith(b"0" * 16) else text.decode()


def test_ask_everything_is_as_in_python(ask):
    """P35: Every operation, of a bucket and of a group, answers and keeps as the algorithm does."""
    kept, place = {}, NOWHERE
    acts = [("take", 1), ("take", 2), ("take", 8), ("take", 8), ("level", 0), ("correct", -1)]
    acts += [("pause", 0), ("take", 1, 1), ("renew", 1, 1), ("cancel", 1, 1), ("resume", 0, 0)]
    for step, (operation, *tokens) in enumerate([*acts, ("take", 4, 1), ("reset", 0, 0)]):
        now, longest = (
            NOW + step * 300_001,
            (0 if operation == "take" and len(tokens) == 1 else 10**8),
        )
        question, replied, texts = ask(operation, *tokens, longest=longest, place=place, now=now)
        keys = [limit.key for limit, _ in question.charges]
        expected, changes = answer(question, [kept.get(key) for key in keys], now)
        kept.update(zip(keys, [change.value for change in changes or ()], strict=False))
        assert replied._replace(standings=()) == expected._replace(standings=())
        assert list(replied.standings) == list(expected.standings)
        assert texts == [kept.get(key) for key in keys]
        place = replied.place if replied.place.number else place


def test_ask_at_the_servers_time_counts(ask):
    """P2: A full bucket admits its capacity."""
    assert [ask("take", 5)[1].wait > 0 for _ in range(3)] == [False, False, True]


@pytest.mark.skipif("FAKEREDIS_LUA_VERSION" in os.environ, reason="is about another")
@pytest.mark.parametrize("version", ["5.4"])
def test_run_on_a_lua_with_integers_comes_to_the_same(version):
    """P35: A Lua that knows integers and floats apart runs the script just as well."""
    options = ["-q", "-n0", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, Path(__file__)]
    environment = os.environ | {"FAKEREDIS_LUA_VERSION": version, "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - this very file
    assert ran.returncode == 0, ran.stdout
