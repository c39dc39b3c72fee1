"""What the documented blocks do."""

# What each block prints, what it calls, and the seconds it takes.
OUTCOMES: dict[str, tuple[list[str], list[str], float]] = {
    "make one": ([], [], 0),
    "ask once": (["Request allowed!"], [], 0),
    "refuse in a function": ([], [], 0),
    "wait in a function": ([], [], 0),
    "several limits": ([], [], 0),
    "ask for more than one": (
        ["Request allowed", "Batch operation allowed", "Half request allowed"],
        [],
        0,
    ),
    "wait for more than the capacity": (
        [
            "Token available, proceeding...",
            "5 tokens available, proceeding...",
            "Large batch allowed",
        ],
        [],
        1.1,
    ),
    "ask under the other name": (["Successfully consumed 2 tokens"], [], 0),
    "the exception": ([], [], 0),
    "raise the exception": (["Too many requests"], [], 0),
    "guard a web request": (["{'id': 123}"], [], 0),
    "hundred requests in a row": ([f"Processing request {i}" for i in range(100)], [], 10),
    "limit of many at once": ([], [], 0),
    "limit of as many at once as each second": ([], [], 0),
    "limit of one each ten seconds": ([], [], 0),
    "operations of different cost": (
        [],
        ["light_operation", "medium_operation", "heavy_operation"],
        0,
    ),
    "capacity to fit or too small": ([], [], 0),
    "refuse or wait": ([], ["handle_rate_limit", "do_work"], 1),
    "one bucket or one for each call": ([], [], 0),
    "quick and slow bucket": ([], [], 0),
}

# What the threads of a block print, numbers aside, and the seconds they take.
THREADED_OUTCOMES: dict[str, tuple[dict[str, int], float]] = {
    "threads: web requests": ({"Request: 200": 5, "Request rate limited": 15}, 0),
    "threads: workers that wait": ({"Worker operation": 50, "All workers completed": 1}, 0.3),
    "threads: workers that are refused": ({"Worker got token": 100}, 0),
}

# The terms of each bucket that a block makes: capacity, tokens per second.
MADE = {
    "several limits": [(50, 100), (1, 1 / 60), (2.5, 0.5)],
    "limit of many at once": [(100, 10)],
    "limit of as many at once as each second": [(5, 5)],
    "limit of one each ten seconds": [(1, 0.1)],
    "capacity to fit or too small": [(50, 100), (1, 100)],
    "quick and slow bucket": [(1000000, 1000000), (10, 0.1)],
}
