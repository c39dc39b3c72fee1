"""Plan instead of waiting: a reservation takes its tokens now and says in how long to use them.

This is what a task queue wants, for its countdown, and whatever else has a schedule of its own.
"""

from rate_limiter import RateLimitExceeded, Reservation, TokenBucket

# What a mail provider accepts: two mails at once, then one every ten seconds.
bucket = TokenBucket.from_rate("6/minute", capacity=2)
queue: dict[str, Reservation] = {}


def enqueue(job: str, mails: int, patience: float | None = None) -> None:
    """Queue a job for the time at which its mails may go, unless that is too late for it."""
    try:
        queue[job] = bucket.reserve(mails, timeout=patience)
    except RateLimitExceeded as error:
        print(f"{job}: not within {patience:.0f} s, but in {error.retry_after:.0f} s")


def show(event: str) -> None:
    """Print when each job may run."""
    plan = [f"{job} in {reservation.delay:.0f} s" for job, reservation in queue.items()]
    print(f"{event}: {', '.join(plan)}")


def main() -> None:
    """Queue jobs, and change the plan."""
    enqueue("welcome", mails=2)
    enqueue("invoices", mails=3)
    enqueue("newsletter", mails=6)
    enqueue("report", mails=1)
    show("planned")
    enqueue("reminder", mails=1, patience=60)  # refused, and nothing is taken for it

    queue.pop("newsletter").cancel()  # its tokens come back: who is behind moves up
    show("newsletter cancelled")

    queue["invoices"].settle(2)  # one customer less
    show("invoices settled for 2 mails")

    queue["welcome"].settle(3)  # it has been sent, to one more than was planned
    show("welcome settled for 3 mails")


if __name__ == "__main__":
    main()
