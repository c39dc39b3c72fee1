"""Interrupts, handlers, finalizers and failing allocations at every line that a call passes (P19).

A *world* is a few buckets on a clock that stands still, with a line of waiters before them. An
*operation* is one call on it. An *injector* lets something come in between two lines of that call.
The *judge* compares what is left with what the same world is like when the operation and whatever
came in between ran one after the other, whole: that is all anybody may be able to see.

Only the public interface is used, so that the inside of the package may change at will.
"""
