#!/usr/bin/env python3
"""Tested: that the README's program does what the README says: it echoes, and Ctrl-C ends it.

    readme_test.py PROGRAM
"""

import signal
import socket
import subprocess
import sys

PORT = 7777
LIMIT_S = 60


def main(program):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError as error:
            print(f"not run: somebody else has port {PORT} ({error})")
            return 0
    # Whoever starts us may ignore SIGINT, and a child would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True, bufsize=1) as server:
        try:
            for _ in range(600):
                try:
                    client = socket.create_connection(("127.0.0.1", PORT), timeout=LIMIT_S)
                    break
                except ConnectionRefusedError:
                    try:
                        status = server.wait(0.1)
                    except subprocess.TimeoutExpired:
                        continue
                    raise AssertionError(f"it ended with {status}") from None
            else:
                raise AssertionError("it does not listen")
            with client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                answer = b""
                while piece := client.recv(100):
                    answer += piece
            assert answer == b"hello", answer
            server.send_signal(signal.SIGINT)
            status = server.wait(LIMIT_S)
            assert status == 0, f"it ended with {status} after SIGINT"
        finally:
            server.kill()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
