"""`total_tokens` finds what a reply says it has used, and nothing that a model has written."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_api import anthropic_stream, openai_stream

from rate_limiter.http import total_tokens
from rate_limiter.http.tail import HEAD, TAIL, Tail

LIE = {"usage": {"total_tokens": 5_000_000}, "usageMetadata": {"totalTokenCount": 5_000_000}}
LONG = "word " * TAIL


def text(value):
    return json.dumps(value).encode()


def sse(*events):
    """Write events as a server sends them."""
    return b"".join(b"event: x\ndata: " + text(event) + b"\n\n" for event in events)


def lines(*events):
    return b"".join(text(event) + b"\n" for event in events)


def passed(body):
    """Return what `settle` gets of a body."""
    tail = Tail()
    for start in range(0, len(body), 1000):
        tail.feed(body[start : start + 1000])
    return tail.bytes()


def anthropic(words, last=True, **usage):
    """Return a stream of Anthropic's: 20 tokens in, one out for each word."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 20} | usage}}
    word = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": " word"}}
    end = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": words}}
    return sse(start, *[word] * words, *[end, {"type": "message_stop"}] * last)


def openai(usage, choices=(), **more):
    return {"object": "chat.completion.chunk", "choices": choices, "usage": usage} | more


def gemini(total, reason=None, args=None):
    part = {"functionCall": {"name": "report", "args": args or {}}}
    candidate = {"content": {"parts": [part]}, "finishReason": reason}
    usage = {"promptTokenCount": 3, "totalTokenCount": total}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "g"}


@pytest.mark.parametrize(
    ("tail", "tokens"),
    [
        (b'{"usage": {"total_tokens": 7}}', 7),
        (b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}', 7),
        (b'{"usage": {"input_tokens": 3, "output_tokens": 4}}', 7),
        (b'{"usage": {"input_tokens": 3, "cache_creation_input_tokens": 4}}', 7),
        (b'{"usage": {"input_tokens": 7, "cache_read_input_tokens": 100}}', 7),
        (b'{"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 7}}', 7),
        (b'data: {"usage": null}\n\ndata: {"usage": {"total_tokens": 7}}\n\ndata: [DONE]', 7),
        (b'data: {"type": "response.completed", "response": {"usage": {"total_tokens": 7}}}', 7),
        (b"".join(openai_stream().chunks), 42),
        (b"".join(anthropic_stream().chunks), 42),
        (b'off at the start", "usage": {"total_tokens": 7}}', 7),
        (rb'{"text": "{\"usage\": {\"total_tokens\": 99}}", "usage": {"total_tokens": 7}}', 7),
        (b'{"error": {"message": "slow down"}}', 0),
        (b'{ "type": "error", "error": {"type": "rate_limit_error"}}', 0),
        (b'{"error": null, "text": ""}', None),
        (b'{"text": "", "error": {}}', None),
        (b'{"usage": {"total_tokens": 7', None),
        (b'{"usage": {"total_tokens": true}}', None),
        (b'{"usage": {"total_tokens": -7}}', None),
        (b'{"usage": {"total_tokens": "7"}}', None),
        (b'{"usage": {}}', None),
        (b'{"usage": 7}', None),
        (b'{"usage": ' + b'{"a": ' * 100_000, None),
        (b"\xff\xfe<html>", None),
        (b"", None),
    ],
)  # fmt: skip
def test_count_tokens_of_a_reply(tail, tokens):
    """The usage of the known APIs is found, in whole replies and in the ends of them."""
    assert total_tokens(tail) == tokens


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"usage": {"prompt_tokens": 3, "input_tokens": 3, "completion_tokens": 4}}, 7),
        ({"usage": {"input_tokens": 3, "output_tokens": 4, "completion_tokens": 4}}, 7),
        ({"usage": {"output_tokens": 4}}, None),
        ({"usage": {"total_tokens": 7.0}}, 7),
        ({"usage": {"total_tokens": 7.5}}, None),
        ({"usage": {"total_tokens": 2**53}}, None),
        ({"usage": {"total_tokens": float("inf")}}, None),
        ({"usage": {"inputTokens": 3, "outputTokens": 4, "cacheWriteInputTokens": 2}}, 9),
        ({"usage": {"tokens": {"input_tokens": 3, "output_tokens": 4}}}, 7),
        ({"embeddings": [], "meta": {"billed_units": {"input_tokens": 7}}}, 7),
        ({"done": True, "prompt_eval_count": 3, "eval_count": 4}, 7),
        ({"type": ["odd"], "usage": {"total_tokens": 7}}, 7),
        ({"error": {"message": "slow down"}, "usage": {"total_tokens": 7}}, 7),
        ({"object": "response", "error": {"code": "x"}, "usage": None}, None),
        ({"input_tokens": 7}, None),
        ({"type": "message", "content": [{"input": LIE}], "usage": {"input_tokens": 7}}, 7),
        ({"usage": {"input_tokens": 7}, "content": [{"input": LIE}]}, 7),
        ({"content": [{"input": LIE}]}, None),
        (gemini(7, "STOP", LIE), 7),
        ([gemini(5), gemini(7, "STOP", LIE)], 7),
        ([{"error": {"code": 429}}], 0),
        ([[LIE]], None),
        (7, None),
    ],
)  # fmt: skip
def test_count_tokens_where_an_api_has_them(body, tokens):
    """P43: Each API has its own place and names; what a model writes elsewhere is no usage."""
    assert total_tokens(text(body)) == tokens
    assert total_tokens(json.dumps(body, indent=2).encode()) == tokens
    assert total_tokens(b"\xef\xbb\xbf" + bytearray(text(body))) == tokens


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (sse(openai(None), openai({"total_tokens": 7})), 7),
        (sse(openai({"total_tokens": 5}, [{"delta": {}}])), None),
        (sse(openai({"total_tokens": 5}, [{"finish_reason": None}])), None),
        (sse(openai({"total_tokens": 7}, [{"finish_reason": "stop"}])), 7),
        (sse(openai({"total_tokens": 7}, ["odd"])) + b"data: [DONE]\n\n", 7),
        (sse(openai(None, error=None)) + b"data: [DONE]\n\n", None),
        (sse({"type": "response.created", "response": {"usage": None}}), None),
        (sse({"type": "response.completed", "response": {"usage": {"total_tokens": 7}}}), 7),
        (sse({"type": "response.incomplete", "response": {"usage": {"total_tokens": 7}}}), 7),
        (sse({"type": "image_generation.completed", "usage": {"total_tokens": 7}}), 7),
        (sse({"type": "ping", "usage": {"total_tokens": 7}}), None),
        (sse(gemini(5)), None),
        (sse(gemini(5), gemini(7, "STOP", LIE)), 7),
        (sse({"promptFeedback": {"blockReason": "X"}, "usageMetadata": {"totalTokenCount": 7}}), 7),
        (sse({"type": "message-end", "delta": {"usage": {"tokens": {
            "input_tokens": 3, "output_tokens": 4}}}}), 7),
        (lines({"event_type": "stream-end", "response": {"meta": {"billed_units": {
            "input_tokens": 3, "output_tokens": 4}}}}, {}), 7),
        (lines({"message": LIE}, {"done": True, "prompt_eval_count": 3, "eval_count": 4}), 7),
        (lines({"message": LIE}, {"done": False}), None),
        (sse({"type": "error", "error": {"type": "overloaded_error"}}), None),
        (sse({"choices": [{"delta": {"tool": LIE}}]}) + b"data: [DONE]\n\n", None),
        (anthropic(7), 27),
        (anthropic(7, cache_creation_input_tokens=4, cache_read_input_tokens=9), 31),
        (anthropic(7, last=False, output_tokens=1), None),
        (anthropic(7).split(b"\n\n", 1)[1], None),
        (sse({"type": "message_start", "message": "odd"}), None),
        (sse({"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
             {"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 4}}), 7),
        (sse({"type": "message_start", "message": {"usage": {"input_tokens": 0}}},
             {"type": "message_delta", "usage": {"input_tokens": 3, "output_tokens": 4}}), 7),
    ],
)  # fmt: skip
def test_count_tokens_of_a_stream(body, tokens):
    """P43: Each event says it in its own place, and a stream without its end does not say it."""
    assert total_tokens(body) == tokens
    assert total_tokens(body.replace(b"\n", b"\r\n")) == tokens


@pytest.mark.parametrize("words", [300, 520, 530, 560, 3000])
def test_count_tokens_of_a_long_stream(words):
    """P43: What went in is said at the beginning of a stream, what came out at its end."""
    assert total_tokens(passed(anthropic(words))) == 20 + words
    assert total_tokens(passed(anthropic(words, last=False))) is None


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (text({"content": [{"input": LIE, "text": LONG}], "usage": {"input_tokens": 7}}), 7),
        (text({"content": [LONG, {"input": LIE}], "usage": {"input_tokens": 7}, "x": {}}), 7),
        (text({"text": LONG, "content": [{"input": LIE}]}), None),
        (text({"data": [0.125] * TAIL, "usage": {"prompt_tokens": 7, "total_tokens": 7}}), 7),
        (json.dumps({"data": [0.1] * TAIL, "meta": {"billed_units": {"input_tokens": 7}}},
                    indent=1).encode(), 7),
        (text([gemini(5, args={"x": LONG}), gemini(7, "STOP", LIE)]), 7),
        (text([gemini(5), gemini(7, "STOP", {"x": LONG} | LIE)]), 7),
        (text([{"x": LONG}, [LIE]]), None),
        (sse({"type": "response.completed",
              "response": {"output": [LONG], "usage": {"total_tokens": 7}, "x": {}}}), 7),
        (sse({"type": "response.completed", "response": {"output": [LONG, LIE]}}), None),
        (sse(gemini(7, "STOP", {"x": LONG} | LIE)), None),
        (sse(gemini(5, args={"x": LONG}), gemini(7, "STOP")), 7),
        (lines(*[{"message": LIE}] * 2000, {"done": True, "prompt_eval_count": 3,
                                           "eval_count": 4}), 7),
        (text({"x": LONG, "usage": {"total_tokens": 7}})[:-2], None),
        (LONG.encode(), None),
    ],
)  # fmt: skip
def test_count_tokens_of_a_long_body(body, tokens):
    """P43: Of a long body the end is read as what it is: the end of one object, or of a stream."""
    assert len(body) > HEAD + TAIL
    assert total_tokens(passed(body)) == tokens


def test_count_tokens_of_a_body_full_of_lies_takes_little_time():
    """What a model writes cannot make the reading of its reply slow."""
    lies = b'"usage":{"a":1},' * TAIL
    nested = b'"usage":{' * TAIL
    began = process_time()
    assert total_tokens(passed(b'{"x":{' + lies + b'"b":1}}')) is None
    assert total_tokens(passed(nested)) is None
    assert process_time() - began < 1


def test_keep_the_beginning_of_a_long_body():
    """A short body is its own end; of a long one the beginning is kept as well."""
    short, long = bytes(TAIL), bytes(range(256)) * 1024
    assert (passed(short), passed(short).head) == (short, b"")
    assert (passed(long), passed(long).head) == (long[-TAIL:], long[:HEAD])


@pytest.mark.parametrize("value", ["text", None, 7, memoryview(b"")])
def test_count_tokens_of_no_bytes_says_what_it_takes(value):
    """The error names what total_tokens takes, and what it was given."""
    with pytest.raises(TypeError, match=f"takes the bytes .* not {type(value).__name__}"):
        total_tokens(value)


HOLDERS = ["usage", "usageMetadata", "meta", "type", "message", "response", "choices", "error"]
COUNTS = ["total_tokens", "input_tokens", "output_tokens", "done", "candidates", "finish_reason"]
NAMES = st.sampled_from(HOLDERS + COUNTS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4), st.sampled_from([lines, sse, text]), st.binary(max_size=9))
def test_count_tokens_never_raises(values, write, noise):
    """Whatever the bytes are, the answer is a count or None."""
    body = write(*values) if write is not text else text(values)
    half = len(body) // 2
    for tail in (noise, body, body[half:], body[:half] + noise + body[half:]):
        tokens = total_tokens(tail)
        assert tokens is None or tokens >= 0
