"""Clients of Redis at `examples/resp.py`: redis-cli, redis-benchmark and redis-py."""

import threading

import redis

from examples.resp import Server
from tests.support.programs import program, run
from tests.support.running import running_server

PATIENCE = 30


def serving():
    return running_server(Server(("127.0.0.1", 0)))


def cli(server, *words, send=b""):
    done = run([program("redis-cli"), "-p", str(server.server_address[1]), *words], send, PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_redis_cli():
    with serving() as server:
        assert cli(server, "set", "key", "a value") == "OK\n"
        assert cli(server, "get", "key") == "a value\n"
        assert cli(server, "rpush", "list", "1", "2") == "2\n"
        assert cli(server, "blpop", "none", "list", "1") == "list\n1\n"
        assert cli(server, "blpop", "none", "0.05") == "\n"
        assert "unknown command" in cli(server, "nonsense")
        assert cli(server, "--pipe", send=b"".join(b"SET %d x\r\n" % number for number in range(5_000))) != ""
        assert cli(server, "get", "4999") == "x\n"


def test_redis_benchmark():
    with serving() as server:
        done = run(
            [program("redis-benchmark"), "-p", str(server.server_address[1]), "-n", "500", "-c", "20", "-P", "4",
             "--csv", "-t", "ping,set,get,incr,lpush,rpush,lpop,rpop,mset"], timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        tests = [line.partition(b",")[0] for line in done.stdout.splitlines()]
        assert tests[1:] == [
            b'"PING_INLINE"', b'"PING_MBULK"', b'"SET"', b'"GET"', b'"INCR"', b'"LPUSH"', b'"RPUSH"', b'"LPOP"',
            b'"RPOP"', b'"MSET (10 keys)"',
        ]  # fmt: skip


def test_redis_py():
    with serving() as server:
        host, port = server.server_address
        with redis.Redis(host, port, protocol=2, socket_timeout=PATIENCE) as client:
            assert client.ping()
            with client.pipeline(transaction=False) as pipeline:
                for number in range(1_000):
                    pipeline.set(f"key {number}", number)
                assert pipeline.execute() == [True] * 1_000
            assert client.get("key 999") == b"999"
            assert client.incr("counter") == 1
            found = []
            popper = threading.Thread(target=lambda: found.append(client.blpop(["a", "b"], PATIENCE)))
            popper.start()
            assert client.rpush("b", "item") == 1
            popper.join(PATIENCE)
            assert found == [(b"b", b"item")]
            with client.pubsub(ignore_subscribe_messages=False) as subscriber:
                subscriber.subscribe("news")
                assert subscriber.get_message(timeout=PATIENCE)["type"] == "subscribe"
                assert client.publish("news", "hello") == 1
                message = subscriber.get_message(timeout=PATIENCE)
                assert (message["channel"], message["data"]) == (b"news", b"hello")
