"""Buckets of this process: their tokens and their lines are in its memory."""

__all__: list[str] = []
