"""Libraries that limit an HTTP service or client only."""

from __future__ import annotations

from everybody.contender import Contender

PLENTY = "100000000/minute"  # which nobody asks for
MANY = 10**6  # a second
KEPT = 10_000  # requests in 10 ms, for one that remembers each: as few as are enough


class SlowAPI(Contender):
    name = module = "slowapi"
    how = "limits' fixed window"

    def starlette(self, app):
        from slowapi import Limiter
        from slowapi.middleware import SlowAPIASGIMiddleware
        from slowapi.util import get_remote_address

        app.state.limiter = Limiter(
            get_remote_address, default_limits=[PLENTY], headers_enabled=True
        )
        app.add_middleware(SlowAPIASGIMiddleware)
        return app


class FlaskLimiter(Contender):
    name = "flask-limiter"
    module = "flask_limiter"
    how = "limits' fixed window"

    def flask(self, app):
        from flask_limiter import Limiter
        from flask_limiter.util import get_remote_address

        Limiter(
            get_remote_address,
            app=app,
            default_limits=[PLENTY],
            headers_enabled=True,
            storage_uri="memory://",
        )
        return app


class FastAPILimiter(Contender):
    name = "fastapi-limiter"
    module = "fastapi_limiter.depends"
    how = "pyrate-limiter's sliding log"

    def fastapi(self):
        from fastapi_limiter.depends import RateLimiter
        from pyrate_limiter import Limiter, Rate

        return RateLimiter(limiter=Limiter(Rate(KEPT, 10)))


class RequestsRateLimiter(Contender):
    name = "requests-ratelimiter"
    module = "requests_ratelimiter"
    how = "pyrate-limiter's sliding log"

    def requests(self, bare):
        from requests_ratelimiter import LimiterMixin

        class Limited(LimiterMixin, bare):
            pass

        return Limited(per_second=MANY)
