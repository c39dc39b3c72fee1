"""Bodies of refusals: problem details (RFC 9457), or what a service makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from ..rates import shown

__all__ = ["MakeBody", "Problem", "body_of", "quota_exceeded", "unavailable"]

Problem: TypeAlias = dict[str, Any]
"""What went wrong, as it is written in JSON: `type`, `title`, `status`, `detail` and more."""
MakeBody: TypeAlias = Callable[[Any, Problem], tuple[str, str | bytes]]
"""Gets a request and the problem; returns a content type and a body."""

_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_TYPE = "application/problem+json"


def quota_exceeded(policy: str, retry_after: int | None) -> Problem:
    """Return the problem of a request for which the tokens are missing.

    Args:
        policy: The policy that refused.
        retry_after: Seconds after which to try again; None if that would not help.
    """
    detail = "This request costs more than the limit ever allows at once."
    if retry_after is not None:
        detail = f"Too many requests; try again in {retry_after} s."
    return {
        "type": _QUOTA_EXCEEDED,
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": detail,
        "violated-policies": [policy],
    }


def unavailable() -> Problem:
    """Return the problem of a request whose limit cannot be checked."""
    return {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The rate limit cannot be checked at the moment; try again later.",
    }


def body_of(request: Any, problem: Problem, make_body: MakeBody | None) -> tuple[str, bytes]:
    """Return the content type and the body of an answer.

    Raises:
        TypeError: What the service's own function returned is no such pair.
    """
    if make_body is None:
        return _TYPE, json.dumps(problem).encode()
    made: Any = make_body(request, problem)
    try:
        content_type, body = made
        encoded = body.encode() if isinstance(body, str) else body
    except (TypeError, ValueError):  # it is not two things
        content_type = encoded = None
    if not (isinstance(content_type, str) and isinstance(encoded, bytes)):
        raise TypeError(
            "body must return a content type and a str or bytes, such as "
            f"('text/plain', 'try later'), got {shown(made)}"
        )
    return content_type, encoded
