"""Undoing a content encoding, piece by piece, as a body passes.

gzip and deflate always work; br and zstd where a library for them is installed, without which an
HTTP client would not have asked for them.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

__all__ = ["Decoder", "decoder_for"]

Decoder: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""Takes the next bytes of a body, and returns what they decode to."""

_PIECE = 2**16  # bytes decoded at a time, so that a small body cannot fill the memory
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_RAW = -zlib.MAX_WBITS
_GZIP = 0x1F  # the first byte of a gzip member
_ZLIB_METHOD = 8  # in the low half of the first byte of a zlib stream


def decoder_for(encoding: str) -> Decoder | None:
    """Return what decodes a `Content-Encoding`; None if nothing is to be done, or can be."""
    names = [name.strip().lower() for name in encoding.split(",")]
    decoders = [_named(name) for name in reversed(names) if name not in {"", "identity"}]
    if not decoders or None in decoders:
        return None
    return _Chain([decoder for decoder in decoders if decoder is not None])


def _named(name: str) -> Decoder | None:
    made = _DECODERS.get(name)
    try:
        return None if made is None else made()
    except ImportError:
        return None


class _Chain:
    """Undoes several encodings, the last one first."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def __call__(self, data: bytes) -> Iterable[bytes]:
        pieces: Iterable[bytes] = (data,)
        for decoder in self._decoders:
            pieces = _each(decoder, pieces)
        return pieces


def _each(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder(piece)


class _Inflater:
    """Decodes gzip, one member after another, and deflate with or without its header.

    What follows the last member, such as zeros to fill a block, is left out, as clients do.
    """

    def __init__(self) -> None:
        self._inflate: Any = None

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate is None:
                self._inflate = zlib.decompressobj(_window_bits(data[0]))
            elif self._inflate.eof:
                if data[0] != _GZIP:
                    return
                self._inflate = zlib.decompressobj(_ZLIB_OR_GZIP)
            piece = self._inflate.decompress(data, _PIECE)
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail or self._inflate.unused_data


def _window_bits(first: int) -> int:
    return _ZLIB_OR_GZIP if first == _GZIP or first % 16 == _ZLIB_METHOD else _RAW


def _brotli() -> Decoder:
    decompressor = _first_of("brotli", "brotlicffi").Decompressor()
    return lambda data: (decompressor.process(data),)


class _Zstd:
    """Decodes zstd, one frame after another."""

    def __init__(self) -> None:
        self._new = _first_of("compression.zstd", "backports.zstd", "zstandard").ZstdDecompressor
        self._frame = self._next_frame()

    def __call__(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame.eof:
                self._frame = self._next_frame()
            yield self._frame.decompress(data)
            data = self._frame.unused_data

    def _next_frame(self) -> Any:
        new = self._new()
        return getattr(new, "decompressobj", lambda: new)()


def _first_of(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(names)


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": _Inflater,
    "x-gzip": _Inflater,
    "deflate": _Inflater,
    "br": _brotli,
    "zstd": _Zstd,
}
