"""A name server on this machine, over UDP and TCP, that says what a test lets it say."""

import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

LONGEST_DATAGRAM = 512
"""Bytes of an answer without EDNS; a longer one is cut, and asked for again over TCP."""


@dataclass
class NameServer:
    """Knows the SRV records of names as zone files write them: priority, weight, port, target."""

    services: dict[str, Sequence[str]]
    fails: dns.rcode.Rcode = dns.rcode.NOERROR
    silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Protocol and name of each question."""
    port: int = 0

    def answer(self, wire: bytes, protocol: str) -> bytes | None:
        question = dns.message.from_wire(wire)
        [one] = question.question
        name = str(one.name)
        self.asked.append((protocol, name))
        if self.silent:
            return None
        answer = dns.message.make_response(question)
        answer.set_rcode(self.fails)
        if name not in self.services and not self.fails:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if records := self.services.get(name):
            answer.answer.append(dns.rrset.from_text_list(one.name, 5, "IN", "SRV", records))
        found = answer.to_wire(max_size=65_535)
        if protocol == "udp" and len(found) > LONGEST_DATAGRAM:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            found = answer.to_wire()
        return found

    def resolver(self) -> dns.resolver.Resolver:
        """Return what asks this server alone, and looks names up below two domains as pods do."""
        made = dns.resolver.Resolver(configure=False)
        made.nameservers, made.port = ["127.0.0.1"], self.port
        made.search = [dns.name.from_text(one) for one in ("llm.svc.test", "svc.test")]
        made.ndots, made.lifetime = 5, 1.0
        return made


@contextmanager
def listening(server: NameServer) -> Iterator[NameServer]:
    """Answer at a port of this machine, the same for both protocols."""

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, place = self.request
            if (found := server.answer(wire, "udp")) is not None:
                place.sendto(found, self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            found = server.answer(self.rfile.read(length), "tcp") or b""
            self.wfile.write(struct.pack("!H", len(found)) + found)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream) as tcp:
        server.port = tcp.server_address[1]
        with socketserver.UDPServer(("127.0.0.1", server.port), Datagram) as udp:
            both: tuple[Any, ...] = (tcp, udp)
            threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in both]
            for thread in threads:
                thread.start()
            try:
                yield server
            finally:
                for one in both:
                    one.shutdown()
                for thread in threads:
                    thread.join()
