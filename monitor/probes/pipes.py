"""A worker's side of the pipes: requests in, answers out, until the daemon closes them.

A worker answers framed requests on its standard input and ends when that closes, which the kernel
does the moment the daemon dies; so it never outlives the daemon. (A parent-death signal would be
wrong here: it fires when the *thread* that started the worker ends.)
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

import msgspec

from monitor.probes import framing
from monitor.probes.errors import ModelMissing, ProbeFailed, place_of

Asked = TypeVar("Asked")


def serve(
    decoder: msgspec.msgpack.Decoder[Asked], answer: Callable[[Asked], msgspec.Struct]
) -> NoReturn:
    """Answer requests, one at a time, until the daemon closes the pipe."""
    requests, replies = _claim_pipes()
    # if memory runs out, kill this process first: the daemon restarts it
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, arrived), daemon=True).start()
    while True:
        reply = answered(decoder.decode(arrived.get()), answer)
        replies.write(framing.frame(reply))
        replies.flush()


def answered(request: Asked, answer: Callable[[Asked], msgspec.Struct]) -> msgspec.Struct:
    """Answer a request, or say why that failed."""
    try:
        return answer(request)
    except ModelMissing as error:
        return framing.Failure(reason=error.reason, missing=True, permanent=True)
    except ProbeFailed as error:
        return framing.Failure(reason=error.reason, missing=False, permanent=error.permanent)
    except Exception as error:  # noqa: BLE001 - one request of the loop; the reply tells
        return framing.Failure(reason=place_of(error), missing=False, permanent=False)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Reserve the pipes for frames, so that a library that prints cannot break the stream."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    return requests, replies


def _receive(requests: BinaryIO, arrived: queue.SimpleQueue[bytes]) -> None:
    while True:
        head = requests.read(framing.LENGTH_BYTES)
        if len(head) < framing.LENGTH_BYTES:
            # the daemon has gone or closed the pipe; nobody waits for the current computation
            os._exit(0)
        arrived.put(requests.read(framing.body_length(head)))
