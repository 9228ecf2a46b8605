"""Questions and answers of the domain name system (RFC 1035), as far as they are read and made here.

Everything comes from containers or from the network: nothing but the header and one question is ever decoded, and an
optional size limit (RFC 6891). What is only passed on is not decoded at all.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import msgspec
from dnslib import CLASS, PTR, QTYPE, RR, DNSBuffer, DNSHeader, DNSQuestion, DNSRecord
from dnslib.label import DNSLabel

TTL = 600  # seconds; docker's
HEADER = struct.Struct(">HHHHHH")
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
SMALLEST = 512  # bytes that every client takes in a datagram

_QR, _TC, _RD, _RA = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE, _RCODE = 0x7800, 0x000F
_RECORD = struct.Struct(">HHHIH")  # name, type, class, time to live, length
_ASKED_NAME = 0xC000 | HEADER.size  # a pointer to the name of the question
_OPT = 41
_IN = 1
_MOST_ADDITIONAL = 4


class Question(msgspec.Struct, frozen=True):
    """A query with one question.

    Attributes:
        id: its number.
        flags: the header's second word.
        name: in the letters of the client, without the last dot.
        kind: number of the record type.
        internet: the class is IN.
        section: the question's bytes as they came.
        size: bytes that the client takes in a datagram.
    """

    id: int
    flags: int
    name: str
    kind: int
    internet: bool
    section: bytes
    size: int


class BadQuery(Exception):
    """A packet that is no query; ``answer`` is what to say to it, if anything."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__()
        self.answer = answer


def read_query(data: bytes) -> Question:
    """The question of a packet.

    Raises:
        BadQuery: it is none; a packet that is itself an answer, or too short, is to be dropped.
    """
    if len(data) < HEADER.size:
        raise BadQuery(None)
    number, flags, questions, answers, authorities, additional = HEADER.unpack_from(data)
    if flags & _QR:
        raise BadQuery(None)
    if flags & _OPCODE:
        raise BadQuery(bare(number, flags, NOT_IMPLEMENTED))
    if questions != 1 or answers or authorities > 1 or additional > _MOST_ADDITIONAL:
        raise BadQuery(bare(number, flags, FORMAT_ERROR))
    try:
        buffer = DNSBuffer(data)
        buffer.offset = HEADER.size
        question = DNSQuestion.parse(buffer)
        section = data[HEADER.size : buffer.offset]
        if section[:1] >= b"\xc0":  # a pointer: there is nothing before it to point to
            raise ValueError
        name = ".".join(label.decode() for label in question.qname.label)
        size = _size(buffer) if additional and not authorities else SMALLEST
    except Exception as problem:  # whatever a decoder makes of hostile bytes
        raise BadQuery(bare(number, flags, FORMAT_ERROR)) from problem
    return Question(number, flags, name, question.qtype, question.qclass == _IN, section, size)


def _size(buffer: DNSBuffer) -> int:
    """What the first additional record says of sizes, if it is about that."""
    buffer.decode_name()
    kind, size = buffer.unpack("!HH")
    return max(SMALLEST, int(size)) if kind == _OPT else SMALLEST


def bare(number: int, flags: int, code: int) -> bytes:
    """An answer that is nothing but a header."""
    return HEADER.pack(number, _QR | _RA | (flags & (_OPCODE | _RD)) | code, 0, 0, 0, 0)


def failure(question: Question, code: int) -> bytes:
    """An answer without records."""
    head = HEADER.pack(question.id, _QR | _RA | (question.flags & _RD) | code, 1, 0, 0, 0)
    return head + question.section


def addresses(question: Question, found: Sequence[str], *, limit: int) -> bytes:
    """The answer to a question for addresses; none at all: the name has none of that family.

    Args:
        question: for A or AAAA.
        found: addresses of that family.
        limit: bytes; what does not fit is left out, and said so.
    """
    family = socket.AF_INET if question.kind == QTYPE.A else socket.AF_INET6
    data = [socket.inet_pton(family, one) for one in found]
    size = _RECORD.size + (4 if family == socket.AF_INET else 16)
    room = max(0, limit - HEADER.size - len(question.section)) // size
    truncated = _TC if len(data) > room else 0
    flags = _QR | _RA | (question.flags & _RD) | truncated
    head = HEADER.pack(question.id, flags, 1, min(room, len(data)), 0, 0)
    # packed here, not by the library: a name may stand for hundreds, and its client may ask all day
    records = [_RECORD.pack(_ASKED_NAME, question.kind, _IN, TTL, len(one)) + one for one in data[:room]]
    return b"".join([head, question.section, *records])


def pointer(question: Question, name: str) -> bytes:
    """The answer to a question for the name of an address."""
    asked = DNSLabel([part.encode() for part in question.name.split(".") if part])
    header = DNSHeader(id=question.id, qr=1, aa=0, tc=0, rd=int(bool(question.flags & _RD)), ra=1)
    record = RR(asked, QTYPE.PTR, ttl=TTL, rdata=PTR(name))
    return bytes(DNSRecord(header, q=DNSQuestion(asked, QTYPE.PTR, CLASS.IN), rr=[record]).pack())


def is_answer(data: bytes, number: int, question: Question) -> bool:
    """Whether a packet answers a question that was sent under a number of our own."""
    if len(data) < HEADER.size:
        return False
    got, flags, questions, *_ = HEADER.unpack_from(data)
    if got != number or not flags & _QR:
        return False
    if questions == 0:  # a server that did not understand need not repeat
        return bool(flags & _RCODE)
    section = data[HEADER.size : HEADER.size + len(question.section)]
    return questions == 1 and section.lower() == question.section.lower()


def code_of(data: bytes) -> int:
    """What an answer says of its success."""
    return int(HEADER.unpack_from(data)[1]) & _RCODE


def with_number(data: bytes, number: int) -> bytes:
    """The same packet under another number."""
    return struct.pack(">H", number) + data[2:]
