"""Groups of buckets on a server: what goes together."""

import pytest

from rate_limiter import BucketGroup, TokenBucket
from rate_limiter.redis import AsyncRedisTokenBucket, RedisTokenBucket


@pytest.mark.parametrize("kind", [RedisTokenBucket, AsyncRedisTokenBucket])
def test_group_with_what_does_not_go_together_is_refused(
    client, async_client, redis_server, name, kind
):
    """A group must be able to decide in one step."""
    asynchronous = kind is AsyncRedisTokenBucket
    own = async_client() if asynchronous else client
    other = async_client() if asynchronous else redis_server.client()
    bucket = kind(own, name, 1, 1)

    with pytest.raises(TypeError, match="does not go with a"):
        BucketGroup(bucket, TokenBucket(1, 1))
    with pytest.raises(TypeError, match="does not go with a"):
        BucketGroup(TokenBucket(1, 1), bucket)
    with pytest.raises(ValueError, match="only once"):
        BucketGroup(bucket, kind(own, name, 2, 2))
    with pytest.raises(ValueError, match="in one store, by one client"):
        BucketGroup(bucket, kind(other, name + "2", 1, 1))
    with pytest.raises(ValueError, match="fallbacks of one kind"):
        BucketGroup(bucket, kind(own, name + "2", 1, 1, fallback="allow"))
    with pytest.raises(ValueError, match="no bucket of this group is called 'x'"):
        BucketGroup(bucket)._check({"x": 1})
