"""Answers from memory, for clients whose limits are measured."""

from __future__ import annotations

import requests
from requests.adapters import BaseAdapter

HEADERS = {
    "content-type": "application/json",
    "date": "Sun, 06 Nov 1994 08:49:37 GMT",
    "server": "nginx",
    "connection": "keep-alive",
    "transfer-encoding": "chunked",
    "cache-control": "no-store",
    "x-request-id": "0123456789abcdef",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
    "strict-transport-security": "max-age=31536000",
}


class Canned(BaseAdapter):
    """An adapter that answers from memory."""

    def __init__(self) -> None:
        super().__init__()
        self.response = requests.Response()
        self.response.status_code = 200
        self.response.headers.update(HEADERS)

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        return self.response

    def close(self) -> None:
        pass
