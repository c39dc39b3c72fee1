"""The script on a server, the same without its fast path, and the algorithm, side by side.

Each has buckets of its own, and gets the same questions at the same instants, which the questions
carry. After each, all must have answered the same, and keep the same.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from redis.exceptions import ResponseError

from rate_limiter.redis.script import SOURCE, answer_of, request
from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.failures import BucketFailure, TooMuch
from rate_limiter.shared.state import read
from rate_limiter.shared.store import NOWHERE, Limit, Question
from rate_limiter.shared.terms import Terms

FAST_PATH = re.compile(rb"-- fast path begins\n.*?-- fast path ends\n", re.DOTALL)
ERRORS = {"CORRUPT": BucketFailure, "OVERFLOW": TooMuch}


def without_fast_path() -> bytes:
    """Return the script with its fast path cut out."""
    source, cuts = FAST_PATH.subn(b"", SOURCE)
    assert cuts == 1
    return source


@dataclass
class Held:
    """A place that somebody waits at: in which buckets, for how many tokens."""

    place: object
    tokens: dict[int, Fraction]


@dataclass
class Twins:
    """Two buckets three times over: on a server, there without the fast path, and in Python."""

    client: object
    digests: tuple[bytes, bytes]
    name: str
    terms: list[Terms]
    now: int
    values: list = field(default_factory=lambda: [None, None])
    held: list = field(default_factory=list)

    def take(self, operation, buckets, tokens, longest, *, claim=False, spare=0):
        """Put a question about some tokens of some buckets; remember a place that it gets."""
        replied = self.ask(
            operation, dict.fromkeys(buckets, tokens), longest, claim=claim, spare=spare
        )
        if replied is not None and replied.place.number:
            self.held.append(Held(replied.place, dict.fromkeys(buckets, tokens)))

    def revisit(self, operation, chosen, longest):
        """Renew one of the places, renew it without hearing of it ("lose"), or cancel it."""
        if not self.held:
            return
        held = self.held.pop(chosen % len(self.held))
        if operation == "lose":
            self.ask("renew", held.tokens, longest, place=held.place)
            self.held.append(held)
            return
        replied = self.ask(operation, held.tokens, longest, place=held.place)
        if replied is not None and replied.place.number:
            self.held.append(Held(replied.place, held.tokens))

    def ask(self, operation, tokens, longest, *, claim=False, place=NOWHERE, spare=0):
        """Put a question to all three; return what the script answers, None for an error.

        What no bucket asks is not put: a cost of more than 100 years.
        """
        sign = -1 if min(tokens.values()) < 0 else 1
        costs = {
            n: sign * (self.terms[n].cost(abs(share)) if share else 0)
            for n, share in tokens.items()
        }
        if not all(self.terms[n].countable(abs(cost)) for n, cost in costs.items()):
            return None
        spare = int(spare * abs(costs[min(costs)]))
        question = Question(
            operation, self._charges("p", costs), longest, claim, place, self.now, spare
        )
        expected, kept = self._in_python(question)
        restated = self._restates(costs)
        replies, stored = self._on_server(question, costs)
        assert replies[0] == replies[1], (question, replies)
        replied, texts = replies[0]
        if isinstance(expected, type):
            assert replied is expected, (question, replied)
            return None
        if restated:
            self._compare_nearly(expected, replied, kept, texts, costs)
        else:
            assert replied == expected, (question, self.values)
            assert texts == kept, (question, self.values)
        for n, text in zip(costs, stored, strict=True):
            self.values[n] = text  # also one that says nothing, for the clock may step back
        return replied

    def _charges(self, kind, costs):
        return [
            (Limit(f"{self.name}:{kind}{n}".encode(), self.terms[n]), cost)
            for n, cost in costs.items()
        ]

    def _in_python(self, question):
        values = [self.values[int(limit.key[-1:])] for limit, _ in question.charges]
        try:
            replied, changes = answer(question, values, self.now)
        except (BucketFailure, TooMuch) as error:
            return type(error), values
        return plain(replied), self._said(
            values if changes is None else [change.value for change in changes], question
        )

    def _said(self, texts, question):
        """Return the texts, None for one that says no more than none."""
        return [
            None if text is None or self._is_full(text, limit.terms) else text
            for text, (limit, _) in zip(texts, question.charges, strict=True)
        ]

    def _is_full(self, text, terms):
        state = read(text, terms, self.now)
        full_at = Fraction(state.full_at, state.terms.scale)
        return not state.line and state.closed_until is None and full_at <= self.now

    def _restates(self, costs):
        return any(
            self.values[n] is not None and self.terms[n].text not in self.values[n] for n in costs
        )

    def _on_server(self, question, costs):
        pipeline = self.client.pipeline(transaction=False)
        asked = [question._replace(charges=self._charges(kind, costs)) for kind in ("f", "s")]
        for each, digest in zip(asked, self.digests, strict=True):
            pipeline.execute_command(*request(each, digest))
            pipeline.mget([limit.key for limit, _ in each.charges])
        results = pipeline.execute(raise_on_error=False)
        stored = [[text and text.decode() for text in texts] for texts in results[1::2]]
        replies = [
            (self._read(reply, each), self._said(texts, each))
            for reply, texts, each in zip(results[::2], stored, asked, strict=True)
        ]
        return replies, stored[0]

    @staticmethod
    def _read(reply, question):
        if isinstance(reply, ResponseError):
            return ERRORS[str(reply).split()[0]]
        return plain(answer_of(reply, question))

    def _compare_nearly(self, expected, replied, kept, texts, costs):
        """Compare to a microsecond, for a limit has been put into the terms of another."""
        assert abs(replied.wait - expected.wait) <= 1
        for n, one, other in zip(costs, kept, texts, strict=True):
            if one is None or other is None:  # full, but for a microsecond
                continue
            terms = self.terms[n]
            states = [read(text, terms, self.now) for text in (one, other)]
            (base, *line), (other_base, *other_line) = [
                (state.full_at, *[(place.cost, place.floor) for place in state.line])
                for state in states
            ]
            slack = terms.scale * (1 + max(abs(base) // terms.scale - self.now, 0) // 10**15)
            assert abs(base - other_base) <= slack
            for (cost, floor), (other_cost, other_floor) in zip(line, other_line, strict=True):
                assert abs(cost - other_cost) <= slack
                assert abs(floor - other_floor) <= slack


@dataclass
class TwinStore:
    """A store for callers of generated schedules: it asks all three."""

    twins: Twins

    def ask(self, question, now):
        """Return the answer that all of them give."""
        self.twins.now = now
        tokens = {
            int(limit.key): Fraction(units, limit.terms.unit) for limit, units in question.charges
        }
        longest, claim, place = question.longest, question.claim, question.place
        return self.twins.ask(question.operation, tokens, longest, claim=claim, place=place)


def plain(replied):
    return replied._replace(standings=list(replied.standings))
