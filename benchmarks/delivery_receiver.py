"""A receiver that takes every message: as little as HTTP allows, in a process of its own.

Prints its port, then answers 204 to each request and closes the connection, as the
deliverer asks for. Ends with its standard input; then it prints how many different message
ids came, and how many requests.
"""

from __future__ import annotations

import asyncio
import re
import sys

ANSWER = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
ID = re.compile(rb"\r\nwebhook-id: ([^\r]+)", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


async def main() -> None:
    """Serve until nobody holds the other end of the standard input."""
    seen: set[bytes] = set()
    requests = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        found = ID.search(head)
        requests += 1
        seen.add(found[1] if found else b"")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=256)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.write(f"{len(seen)} {requests}\n")


if __name__ == "__main__":
    asyncio.run(main())
