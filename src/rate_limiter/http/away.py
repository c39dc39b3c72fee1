"""What is known of a store that is away: logged once for each outage."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from ..exceptions import BackendError

__all__ = ["Away"]

_LOG = logging.getLogger("rate_limiter.http")


class Away:
    """Whether the store of a limit is away, as one client or one service has found it.

    Args:
        meanwhile: What cannot be done until it is back, for the log.
    """

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._is_away = False

    def failed(self, error: BackendError) -> None:
        """Log the first failure of an outage, whose cause nobody else is told."""
        if not self._is_away:
            self._is_away = True
            _LOG.warning("%s; %s until it is back", error, self._meanwhile)

    def answered(self) -> None:
        """Note that the store has answered."""
        if self._is_away:
            self._is_away = False
            _LOG.info("the store of the limit is back")

    def admitted(self, permit: Any) -> None:
        """Note an admission, which a fallback may have decided: then nobody knows the levels."""
        if self._is_away and permit.levels:
            self.answered()

    async def carried_out(self, telling: Coroutine[Any, Any, None]) -> bool:
        """Tell a limiter something once a response is there; return whether its store has heard.

        If the store fails meanwhile, that is no reason to lose the response.
        """
        try:
            await telling
        except BackendError as error:
            self.failed(error)
            return False
        return True
