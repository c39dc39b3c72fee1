"""What HTTP headers say about limits, as pure functions."""

__all__: list[str] = []
