"""An echo server by a protocol, the faster of asyncio's two ways: `echo.py asyncio|uvloop [--port N]`.

Ended by a signal.
"""

import argparse
import asyncio


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["asyncio", "uvloop"])
    parser.add_argument("--port", type=int, default=7000)
    arguments = parser.parse_args()
    new_loop = asyncio.new_event_loop
    if arguments.peer == "uvloop":
        import uvloop
        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(arguments.port))


main()
