"""What type checkers see of services."""

from typing import Any

from fastapi import Depends, FastAPI
from flask import Flask
from starlette.applications import Starlette

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http import asgi, wsgi
from rate_limiter.http.fastapi import limit

limiters = KeyedRateLimiter.from_rate("100/minute", block=False)
limiter = RateLimiter(TokenBucket(10, 5), block=False)


async def user_of(scope: Any) -> str | None:
    return None


def body(scope: Any, problem: dict[str, Any]) -> tuple[str, bytes]:
    return "text/plain", str(problem["detail"]).encode()


app = Starlette()
app.add_middleware(asgi.RateLimitMiddleware, limiters=limiters, key=asgi.client_ip, name="default")
asgi.RateLimitMiddleware(app, limiter, user_of, cost={"a": 1}, body=body)
asgi.RateLimitMiddleware(app, limiters, cost=lambda scope: 2, count=lambda status: status == 401)

flask = Flask(__name__)
wsgi.RateLimitMiddleware(flask.wsgi_app, limiters, key=wsgi.remote_addr, legacy_headers=True)

fastapi = FastAPI(dependencies=[Depends(limit(limiters, key=user_of, dry_run=True))])
