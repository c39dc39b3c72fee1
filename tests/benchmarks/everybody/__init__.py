"""This library beside every other that limits rates in Python: `bench.py --everybody`."""
