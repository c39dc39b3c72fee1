"""The command line: `rate-limiter`, or `python -m rate_limiter`."""

import sys

from .simulate.command import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
