"""Buckets whose tokens are kept in a store that several processes share, whichever store it is."""

__all__: list[str] = []
