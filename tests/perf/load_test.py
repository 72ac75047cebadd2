#!/usr/bin/env python3
"""Tested: perf/load, as a process, against the HTTP server of the examples, an echo server, and servers that misbehave.

    load_test.py LOAD HTTP_SERVER ECHO
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from server_process import LIMIT_S, ServerProcess  # noqa: E402

LOAD = HTTP_SERVER = ECHO = None


def load(*arguments, **options):
    """Runs it; `duration=1` stands for `--duration 1`."""
    arguments += tuple(text for name, value in options.items() for text in (f"--{name}", str(value)))
    return subprocess.run([LOAD, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)


class Misbehaving:
    """A server that takes connections and does `answer(socket)` with each."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, args=(answer,), daemon=True)
        self.thread.start()

    def run(self, answer):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return

            def serve(connection=connection):
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        pass
            threading.Thread(target=serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Measuring(unittest.TestCase):
    def measure(self, *arguments, **options):
        """The results as written and as printed, which must agree."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            done = load(*arguments, **options, json=path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            found = json.loads(path.read_text())
        self.assertEqual(int(re.search(r"requests +(\d+)", done.stdout).group(1)), found["requests"])
        latencies = [found["latency_us"][name] for name in ("p50", "p90", "p99", "p99.9", "max")]
        curve = dict(map(tuple, found["percentiles_us"]))
        self.assertEqual(list(curve), sorted(curve))
        self.assertEqual(list(curve.values()), sorted(curve.values()))
        self.assertEqual(curve[99], found["latency_us"]["p99"])
        self.assertEqual(latencies, sorted(latencies))
        self.assertGreater(latencies[0], 0)
        self.assertEqual(found["errors"], 0)
        return found

    def test_closed_loop(self):
        with ServerProcess([HTTP_SERVER, "--port", "0", "--shards", "1"]) as server:
            found = self.measure(url=f"http://127.0.0.1:{server.port}/", connections=10, duration=0.3, warmup=0.1,
                                 shards=2)
            self.assertGreater(found["requests"], 0)
            self.assertEqual((found["connections"], found["shards"], found["rate"]), (10, 2, None))

    def test_open_loop_sends_what_is_due_and_counts_what_it_could_not_send(self):
        with ServerProcess([HTTP_SERVER, "--port", "0", "--shards", "1"]) as server:
            url = f"http://127.0.0.1:{server.port}"
            found = self.measure(url=f"{url}/", connections=7, duration=0.5, warmup=0.1, rate=400)
            self.assertEqual(found["requests"] + found["unsent"], 200)
            # Two connections can get 10 answers of 100 ms each within the half second, and 50 are due.
            found = self.measure(url=f"{url}/sleep?ms=100", connections=2, duration=0.5, warmup=0, rate=100)
            self.assertEqual(found["requests"] + found["unsent"], 50)
            self.assertLessEqual(found["requests"], 12)
            self.assertGreaterEqual(found["latency_us"]["max"], 100_000)

    def test_latency_counts_from_when_a_request_was_due(self):
        with ServerProcess([HTTP_SERVER, "--port", "0", "--shards", "1"]) as server:
            found = self.measure(url=f"http://127.0.0.1:{server.port}/sleep?ms=60", connections=1, duration=0.5,
                                 warmup=0, rate=50)
            # The third request is due after 40 ms and can be sent after 120.
            self.assertGreaterEqual(found["latency_us"]["max"], 120_000)

    def test_a_file_larger_than_the_buffer(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "large").write_bytes(b"x" * 1_000_000)
            with ServerProcess([HTTP_SERVER, "--port", "0", "--root", folder]) as server:
                self.measure(url=f"http://127.0.0.1:{server.port}/large", connections=3, duration=0.2)

    def test_a_server_that_closes_after_each_answer(self):
        def answer(connection):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        with Misbehaving(answer) as server:
            found = self.measure(url=f"http://127.0.0.1:{server.port}", connections=2, duration=0.2, warmup=0)
            self.assertGreater(found["requests"], 2)

    def test_echo(self):
        with ServerProcess([ECHO, "--port", "0"]) as server:
            for size in (1, 64, 100_000):
                found = self.measure("--echo", url=f"127.0.0.1:{server.port}", size=size, connections=5, duration=0.2,
                                     warmup=0)
                self.assertGreater(found["requests"], 0)


class Failing(unittest.TestCase):
    def fail(self, answer):
        with Misbehaving(answer) as server:
            done = load(url=f"http://127.0.0.1:{server.port}/", connections=2, duration=0.1, warmup=0)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stdout

    def test_bad_answers_are_errors(self):
        for text, said in ((b"", "without an answer"), (b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n", "500"),
                           (b"nonsense\r\n\r\n", "no HTTP response"), (b"x" * 20_000, "too large"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "within an answer"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nlong", "more came")):
            def answer(connection, text=text):
                connection.recv(4096)
                connection.sendall(text)
            with self.subTest(text[:40]):
                self.assertIn(said, self.fail(answer))

    def test_a_server_that_never_answers_is_an_error(self):
        release = threading.Event()
        self.assertIn("no answer", self.fail(lambda connection: release.wait(LIMIT_S)))
        release.set()

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        done = load(url=f"http://127.0.0.1:{port}/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("refused", done.stderr)

    def test_bad_arguments(self):
        for arguments, said in (([], "--url is missing"), (["--url", "ftp://x/"], "http://"),
                                (["--url", "http:///"], "no host"), (["--url", "http://x:0/"], "from 1 to 65535"),
                                (["--echo", "--url", "x"], "HOST:PORT"), (["--url", "http://[::1/"], "]"),
                                (["--url", "http://x/ y"], "%20"), (["--connections", "0"], "from 1"),
                                (["--rate", "fast"], '"fast"'), (["--duration"], "wants a value"),
                                (["-x"], "no option -x")):
            done = load(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(said, done.stderr)
        self.assertEqual(load("--help").returncode, 0)


if __name__ == "__main__":
    LOAD, HTTP_SERVER, ECHO = sys.argv[1:4]
    del sys.argv[1:4]
    unittest.main(verbosity=2)
