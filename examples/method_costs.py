"""Charge methods by what they are asked to do, from a bucket that each object has for itself."""

from rate_limiter import RateLimitExceeded, per_instance, rate_limited


class Mailbox:
    """An account that may send to ten people at once, and to one more each second."""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    @rate_limited(
        capacity=10,
        rate=1,
        cost=lambda self, recipients: len(recipients),  # noqa: ARG005 - it gets what send() gets
        block=False,
        key=per_instance,  # without it, all mailboxes would share one bucket
    )
    def send(self, recipients: list[str]) -> str:
        """Send to everybody, or refuse: never to some of them."""
        return f"{self.owner} wrote to {len(recipients)}"


def attempt(mailbox: Mailbox, recipients: list[str]) -> None:
    """Send, and say what came of it."""
    try:
        print(mailbox.send(recipients))
    except RateLimitExceeded as error:
        print(
            f"{mailbox.owner} may not write to {error.tokens} yet, but in {error.retry_after:.0f} s"
        )


def main() -> None:
    """Send from two accounts."""
    staff = ["Ann", "Ben", "Cem", "Dia", "Eva", "Fay", "Gil"]
    ann, ben = Mailbox("Ann"), Mailbox("Ben")
    attempt(ann, staff)  # 7 of 10 tokens
    attempt(ann, staff)  # 3 are left: refused, and they stay there
    attempt(ann, staff[:3])
    attempt(ben, staff)  # another mailbox, another bucket


if __name__ == "__main__":
    main()
