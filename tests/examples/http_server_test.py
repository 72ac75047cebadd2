#!/usr/bin/env python3
"""Tested: examples/http_server, as a process, byte by byte where that matters.

    http_server_test.py SERVER
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from server_process import LIMIT_S, Response, ServerProcess  # noqa: E402

SERVER = None
WAYS = [(accept, handlers) for accept in ("one", "every") for handlers in ("pinned", "anywhere")]


class Client:
    """One connection."""

    def __init__(self, server):
        self.socket = server.connect()
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def receive(self, has_body=True):
        return Response(self.stream, has_body)

    def ask(self, method, target, body=None, fields=""):
        if body is not None:
            fields += f"Content-Length: {len(body)}\r\n"
        self.send(f"{method} {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode() + (body or b""))
        return self.receive(has_body=method != "HEAD")

    def is_at_end(self):
        return self.stream.read(1) == b""


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name) / "root"
        (cls.root / "sub").mkdir(parents=True)
        (cls.root / "page.html").write_text("<p>hi</p>")
        (cls.root / "sub" / "index.html").write_text("<p>index</p>")
        (cls.root / "a b.txt").write_text("blank")
        (cls.root / "empty").write_text("")
        cls.large = os.urandom(300_001)
        (cls.root / "large.bin").write_bytes(cls.large)
        (pathlib.Path(cls.folder.name) / "secret.txt").write_text("secret")
        (cls.root / "link.txt").symlink_to("../secret.txt")
        os.mkfifo(cls.root / "pipe")
        cls.server = ServerProcess([SERVER, "--port", "0", "--shards", "2", "--root", str(cls.root)])

    @classmethod
    def tearDownClass(cls):
        cls.server.signal()
        status, _, errors = cls.server.end()
        cls.folder.cleanup()
        assert status == 0, f"the server ended with {status}: {errors}"

    def ask(self, *arguments, **named):
        with Client(self.server) as client:
            return client.ask(*arguments, **named)

    def test_hello(self):
        answer = self.ask("GET", "/")
        self.assertEqual((answer.status, answer.body), (200, b"Hello, world!\n"))
        self.assertEqual(answer.fields["content-type"], "text/plain")
        self.assertRegex(answer.fields["date"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
        self.assertEqual(self.ask("GET", "/?x=1").status, 200)
        self.assertEqual(self.ask("GET", "http://here/").body, b"Hello, world!\n")

    def test_head_has_the_fields_and_no_body(self):
        with Client(self.server) as client:
            answer = client.ask("HEAD", "/")
            self.assertEqual((answer.status, answer.fields["content-length"]), (200, "14"))
            answer = client.ask("HEAD", "/large.bin")
            self.assertEqual((answer.status, answer.fields["content-length"]), (200, "300001"))
            self.assertEqual(client.ask("HEAD", "/nowhere").status, 404)
            self.assertEqual(client.ask("GET", "/").body, b"Hello, world!\n")  # nothing lay in between

    def test_json_comes_back(self):
        sent = {"a": [1, 2.5, None, True, "ä"], "b": {}}
        answer = self.ask("POST", "/json", json.dumps(sent).encode())
        self.assertEqual((answer.status, answer.fields["content-type"]), (200, "application/json"))
        self.assertEqual(json.loads(answer.body), sent)

    def test_json_in_chunks(self):
        with Client(self.server) as client:
            client.send("POST /json HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n")
            client.send("2\r\n2]\r\n0\r\n\r\n")
            self.assertEqual(client.receive().body, b"[1,2]")
            self.assertEqual(client.ask("GET", "/").status, 200)

    def test_json_after_a_continue(self):
        with Client(self.server) as client:
            client.send("POST /json HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            self.assertEqual(client.receive().status, 100)
            client.send("true")
            self.assertEqual(client.receive().body, b"true")

    def test_bad_json_is_refused_and_the_connection_goes_on(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("POST", "/json", b"[1,").status, 400)
            self.assertEqual(client.ask("POST", "/json", b"").status, 400)
            self.assertEqual(client.ask("POST", "/json", b"[" * 10_000).status, 400)
            self.assertEqual(client.ask("POST", "/json", b"[1]").status, 200)

    def test_methods(self):
        with Client(self.server) as client:
            answer = client.ask("GET", "/json")
            self.assertEqual((answer.status, answer.fields["allow"]), (405, "POST"))
            for method, path in (("POST", "/"), ("DELETE", "/page.html"), ("BREW", "/"), ("PUT", "/burn?us=1")):
                answer = client.ask(method, path, b"ignored")
                self.assertEqual((answer.status, answer.fields["allow"]), (405, "GET, HEAD"))

    def test_burn_and_sleep(self):
        with Client(self.server) as client:
            self.assertEqual(client.ask("GET", "/burn?us=300").body, b"burnt\n")
            self.assertEqual(client.ask("GET", "/sleep?x=1&ms=3").body, b"slept\n")
            for target in ("/burn", "/burn?us=", "/burn?us=-1", "/burn?us=1x", "/burn?us=99999999999", "/sleep?us=1",
                           "/sleep?ms=99999999999999999999"):
                self.assertEqual(client.ask("GET", target).status, 400, target)

    def test_files(self):
        answer = self.ask("GET", "/page.html")
        self.assertEqual((answer.status, answer.body), (200, b"<p>hi</p>"))
        self.assertEqual(answer.fields["content-type"], "text/html; charset=utf-8")
        self.assertEqual(self.ask("GET", "/a%20b.txt").body, b"blank")
        self.assertEqual(self.ask("GET", "/empty").body, b"")
        self.assertEqual(self.ask("GET", "/large.bin").body, self.large)
        self.assertEqual(self.ask("GET", "/large.bin").fields["content-type"], "application/octet-stream")
        for path in ("/sub", "/sub/", "//sub//index.html"):
            self.assertEqual(self.ask("GET", path).body, b"<p>index</p>", path)

    def test_files_that_are_none(self):
        for path in ("/nowhere", "/sub/nowhere", "/page.html/x", "/pipe", "/" + "x" * 5000):
            self.assertEqual(self.ask("GET", path).status, 404, path)

    def test_no_file_outside_the_root(self):
        for path in ("/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/link.txt",
                     "/./page.html", str(self.root.parent / "secret.txt"), "//etc/passwd"):
            answer = self.ask("GET", path)
            self.assertEqual(answer.status, 404, path)
            self.assertNotIn(b"secret\n", answer.body)
        self.assertEqual(self.ask("GET", "/%00").status, 400)
        self.assertEqual(self.ask("GET", "/%zz").status, 400)
        self.assertEqual(self.ask("GET", "/%2").status, 400)

    def test_what_is_no_request_is_refused_and_ends_the_connection(self):
        for text in ("GARBAGE\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nno field\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                     "GET / HTTP/1.1\r\n\r\n",  # no Host
                     "GET x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
                     "POST /json HTTP/1.1\r\nHost: here\r\nContent-Length: x\r\n\r\n"):
            with self.subTest(text), Client(self.server) as client:
                client.send(text)
                answer = client.receive()
                self.assertEqual(answer.status, 400)
                self.assertTrue(answer.closes)
                self.assertTrue(client.is_at_end())

    def test_large_bodies_and_heads_are_refused(self):
        with Client(self.server) as client:
            client.send("POST /json HTTP/1.1\r\nHost: here\r\nContent-Length: 1048577\r\n\r\n")
            self.assertEqual(client.receive().status, 413)
            self.assertTrue(client.is_at_end())
        with Client(self.server) as client:  # it is read even by a client that first sends all of it
            answer = client.ask("POST", "/json", b" " * 2_000_000)
            self.assertEqual(answer.status, 413)
        with Client(self.server) as client:
            client.send("POST /json HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n")
            self.assertEqual(client.receive().status, 413)
        with Client(self.server) as client:
            self.assertEqual(client.ask("GET", "/", fields=f"X: {'x' * 20_000}\r\n").status, 431)
        self.assertEqual(self.ask("POST", "/json", b"1" + b" " * 1_048_575).status, 200)

    def test_keep_alive(self):
        with Client(self.server) as client:
            for _ in range(200):
                answer = client.ask("GET", "/")
                self.assertEqual((answer.status, answer.closes), (200, False))
            answer = client.ask("GET", "/", fields="Connection: close\r\n")
            self.assertTrue(answer.closes)
            self.assertTrue(client.is_at_end())
        with Client(self.server) as client:
            client.send("GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(client.receive().status, 200)
            self.assertTrue(client.is_at_end())
        with Client(self.server) as client:
            for _ in range(2):
                client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                self.assertEqual(client.receive().fields["connection"], "keep-alive")

    def test_requests_in_a_row_are_answered_in_order(self):
        with Client(self.server) as client:
            targets = ["/", "/nowhere", "/sleep?ms=5", "/page.html", "/burn?us=50", "/large.bin"] * 40
            sender = threading.Thread(target=lambda: client.send(
                "".join(f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n" for target in targets)))
            sender.start()
            expected = {"/": b"Hello, world!\n", "/nowhere": b"there is nothing here\n", "/sleep?ms=5": b"slept\n",
                        "/page.html": b"<p>hi</p>", "/burn?us=50": b"burnt\n", "/large.bin": self.large}
            for target in targets:
                self.assertEqual(client.receive().body, expected[target])
            sender.join()

    def test_answers_to_requests_in_a_row_come_in_one_piece(self):
        with Client(self.server) as client:
            client.send("GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 3 + "GET / HT")  # the last one stays open
            for _ in range(3):
                self.assertEqual(client.receive().status, 200)
            client.send("TP/1.1\r\nHost: here\r\n\r\n")
            self.assertEqual(client.receive().status, 200)

    def test_byte_by_byte(self):
        with Client(self.server) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"POST /json HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\n[\"xy\"]":
                client.send(bytes([byte]))
            self.assertEqual(client.receive().body, b'["xy"]')

    def test_a_client_that_stops_sending_gets_its_answer(self):
        with Client(self.server) as client:
            client.send("GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.receive().body, b"Hello, world!\n")
            self.assertTrue(client.is_at_end())
        with Client(self.server) as client:
            client.send("GET / HTTP/1.1\r\nHo")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.is_at_end())


class Ways(unittest.TestCase):
    def test_many_clients_at_a_time(self):
        for accept, handlers in WAYS:
            with self.subTest(accept=accept, handlers=handlers), ServerProcess(
                    [SERVER, "--port", "0", "--shards", "3", "--accept", accept, "--handlers", handlers]) as server:
                failures = []

                def ask(failures=failures, server=server):
                    try:
                        with Client(server) as client:
                            for target, body in (("/", b"Hello, world!\n"), ("/burn?us=200", b"burnt\n"),
                                                 ("/sleep?ms=1", b"slept\n")) * 5:
                                if client.ask("GET", target).body != body:
                                    failures.append(target)
                    except Exception as error:  # pylint: disable=broad-except
                        failures.append(repr(error))

                threads = [threading.Thread(target=ask) for _ in range(24)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(failures, [])
                server.signal()
                status, output, _ = server.end()
                self.assertEqual(status, 0)
                self.assertEqual(len(re.findall(r"^\d+( +\d+){7}$", output, re.MULTILINE)), 3)  # shards, counters


class Stopping(unittest.TestCase):
    def test_a_signal_lets_a_slow_request_end_and_closes_idle_connections(self):
        for accept, handlers in WAYS:
            for number in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(accept=accept, handlers=handlers, signal=number), ServerProcess(
                        [SERVER, "--port", "0", "--shards", "2", "--accept", accept, "--handlers", handlers]) as server:
                    with Client(server) as slow, Client(server) as idle:
                        for client in (idle, slow):
                            self.assertEqual(client.ask("GET", "/").status, 200)
                        # Whether it has been read by the time of the signal or not: it came before.
                        slow.send("GET /sleep?ms=700 HTTP/1.1\r\nHost: here\r\n\r\n")
                        server.signal(number)
                        self.assertTrue(idle.is_at_end())
                        answer = slow.receive()
                        self.assertEqual((answer.status, answer.body), (200, b"slept\n"))
                        self.assertTrue(slow.is_at_end())
                    status, output, errors = server.end()
                    self.assertEqual(status, 0, errors)
                    self.assertIn("tasks run", output)
                    with self.assertRaises(OSError):
                        server.connect().close()

    def test_a_second_signal_ends_it_at_once(self):
        with ServerProcess([SERVER, "--port", "0", "--shards", "2"]) as server, Client(server) as slow:
            self.assertEqual(slow.ask("GET", "/").status, 200)
            slow.send("GET /sleep?ms=600000 HTTP/1.1\r\nHost: here\r\n\r\n")
            with Client(server) as other:
                self.assertEqual(other.ask("GET", "/").status, 200)
            server.signal()
            self.assertIn("finished", server.process.stderr.readline())
            server.signal()
            status, _, errors = server.end()
            self.assertEqual(status, 0)
            self.assertIn("at once", errors)

    def test_silent_connections_are_closed(self):
        with ServerProcess([SERVER, "--port", "0", "--shards", "2", "--timeout", "1"]) as server:
            with Client(server) as idle, Client(server) as unfinished:
                self.assertEqual(idle.ask("GET", "/").status, 200)
                unfinished.send("GET / HTTP/1.1\r\nHo")
                self.assertTrue(idle.is_at_end())
                self.assertTrue(unfinished.is_at_end())
            with Client(server) as slow:  # being answered is not being silent
                self.assertEqual(slow.ask("GET", "/sleep?ms=3500").body, b"slept\n")


class Arguments(unittest.TestCase):
    def run_with(self, *arguments):
        return subprocess.run([SERVER, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)

    def test_help(self):
        done = self.run_with("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--port", "--shards", "--accept", "--handlers", "--root", "--timeout"):
            self.assertIn(option, done.stdout)

    def test_bad_ones_are_named(self):
        for arguments, said in ((["--port"], "--port wants a value"), (["--port", "x"], '"x"'),
                                (["--port", "65536"], "65535"),
                                (["--shards", "0"], "from 1"), (["--accept", "some"], "every or one"),
                                (["--handlers", ""], "anywhere or pinned"), (["--nonsense"], "no option --nonsense"),
                                (["8080"], "no option 8080")):
            done = self.run_with(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")

    def test_what_can_not_be_had_is_an_error(self):
        done = self.run_with("--port", "0", "--root", "/no/such/folder")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/such/folder", done.stderr)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = self.run_with("--port", str(taken.getsockname()[1]))
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use", done.stderr)


if __name__ == "__main__":
    SERVER = sys.argv.pop(1)
    unittest.main(verbosity=2)
