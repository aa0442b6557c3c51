"""Serves the template of a directory with nothing around it: `python serve_template.py DIRECTORY`.

Prints its ports and its process; ends with its input. The functions get the settings that they declare from this
process's environment, and the variables that WORKERS holds as JSON.
Their output comes out here, or goes to files in LOGS; HEAD_SECONDS is what a client has for a request's head, and
SEND_BUFFER the bytes of a client's socket that the system keeps.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import uvloop

from local import http1, sam
from local.output import say
from local.server import Server, listening_sockets


async def main(directory: Path) -> None:
    always = json.loads(os.environ.get("WORKERS") or '{"AWS_REGION": "eu-west-1"}')
    http1.HEAD_SECONDS = float(os.environ.get("HEAD_SECONDS") or http1.HEAD_SECONDS)
    logs = Path(os.environ["LOGS"]) if "LOGS" in os.environ else 1
    server = Server(sam.load(directory / "template.yaml"), {"FIXED": "by the runner"}, always, say, logs)
    sockets = listening_sockets(0)
    if "SEND_BUFFER" in os.environ:  # clients' sockets inherit it: else the system takes megabytes off the runner
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(os.environ["SEND_BUFFER"]))
    await server.listen(sockets)
    invoke_port = await server.listen_for_invocations("token")
    server.begin([directory / "functions", directory / "layers"])
    say(json.dumps({"port": sockets[0].getsockname()[1], "invoke_port": invoke_port, "pid": os.getpid()}))
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
