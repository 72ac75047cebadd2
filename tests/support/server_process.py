"""A server under test as a process: started on a free port, asked through plain sockets, ended by a signal.

Everything is bounded: a socket gives up after LIMIT_S, and so does the wait for the process. The limit is far beyond
what anything takes, so that it only ends what hangs.
"""

import re
import signal
import socket
import subprocess
import threading

LIMIT_S = 60


class ServerProcess:
    """Runs a command that prints `listening on ADDRESS:PORT`. Use with `with`: at the end it is gone."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        stdin=subprocess.DEVNULL)
        self.watchdog = threading.Timer(LIMIT_S, self.process.kill)
        self.watchdog.start()
        line = self.process.stdout.readline()
        self.watchdog.cancel()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        if not match:
            self.process.kill()
            output, errors = self.process.communicate()
            raise AssertionError(f"it does not listen: {line}{output}{errors}")
        self.port = int(match.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self):
        """(exit status, stdout, stderr) once it has ended by itself."""
        output, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, output, errors


class Response:
    """An HTTP/1.x response, read from a file-like object of a socket."""

    def __init__(self, stream, has_body=True):
        line = stream.readline()
        self.status = int(line.split()[1])
        self.version = line.split()[0].decode()
        self.fields = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            self.fields[name.decode().lower()] = value.strip().decode()
        self.body = stream.read(int(self.fields.get("content-length", 0))) if has_body else b""

    @property
    def closes(self):
        return self.fields.get("connection", "").lower() == "close"
