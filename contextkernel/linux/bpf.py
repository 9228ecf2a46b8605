"""An assembler for classic BPF as seccomp runs it (Documentation/userspace-api/seccomp_filter.rst, <linux/filter.h>).

A program is put together from its end to its start: every jump of classic BPF goes forward, so all targets of an
instruction are known when it is emitted, and equal pieces are emitted once and shared. A conditional jump reaches 255
instructions; where that is not enough the assembler puts a copy of the return, or a long jump, within its reach.
"""

from __future__ import annotations

import struct

from contextkernel.errors import InvalidInput

# <linux/bpf_common.h>: class | size or operation | mode or source
LD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS: a 32-bit word of struct seccomp_data
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JA = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JGT = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JGE = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JSET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RET = 0x06  # BPF_RET | BPF_K

# struct seccomp_data { int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]; }
OFFSET_NUMBER = 0
OFFSET_ARCH = 4
OFFSET_ARGUMENTS = 16

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_REACH = 255  # jt and jf are bytes
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter


class Assembler:
    """Collects instructions backwards; every method returns the place of what it emitted, to jump to.

    Places count from the end of the program, so they stay true while the program grows.
    """

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []  # last instruction first
        self._seen: dict[tuple[int, int, int, int], int] = {}  # (code, k, yes, no) as places -> latest place

    def _emit(self, code: int, jt: int, jf: int, k: int) -> int:
        self._code.append((code, jt, jf, k))
        return len(self._code) - 1

    def _distance(self, place: int) -> int:
        """Instructions to skip from one that would be emitted now to ``place``."""
        return len(self._code) - place - 1

    def ret(self, verdict: int) -> int:
        """Return ``verdict`` (SECCOMP_RET_* | data)."""
        key = (RET, verdict, -1, -1)
        place = self._seen.get(key)
        if place is None or self._distance(place) > _REACH // 2:
            place = self._seen[key] = self._emit(RET, 0, 0, verdict)
        return place

    def _near(self, place: int) -> int:
        """A place within reach of the next two instructions that does what ``place`` does."""
        code, _, _, k = self._code[place]
        if code == RET:
            return self.ret(k)
        key = (JA, 0, place, place)
        near = self._seen.get(key)
        if near is None or self._distance(near) > _REACH // 2:
            near = self._seen[key] = self._emit(JA, 0, 0, self._distance(place))
        return near

    def jump(self, code: int, k: int, yes: int, no: int) -> int:
        """Compare the accumulator with ``k`` and go on at ``yes`` or ``no``.

        Args:
            code: :data:`JEQ`, :data:`JGT`, :data:`JGE` or :data:`JSET`.
            k: unsigned 32-bit constant.
            yes: place to go on at when the comparison holds.
            no: place to go on at when it does not.
        """
        if yes == no:
            return yes
        key = (code, k, yes, no)
        place = self._seen.get(key)
        if place is not None:
            return place
        # one less than the reach: bringing the second target near may move the first one step away
        if self._distance(yes) > _REACH - 1:
            yes = self._near(yes)
        if self._distance(no) > _REACH - 1:
            no = self._near(no)
        place = self._seen[key] = self._emit(code, self._distance(yes), self._distance(no), k)
        return place

    def _then(self, code: int, k: int, following: int) -> int:
        """An instruction that falls through to ``following``."""
        key = (code, k, following, following)
        place = self._seen.get(key)
        if place is not None:
            return place
        if self._distance(following) > 0:
            self._emit(JA, 0, 0, self._distance(following))
        place = self._seen[key] = self._emit(code, 0, 0, k)
        return place

    def load(self, offset: int, following: int) -> int:
        """Load the 32-bit word at ``offset`` of ``struct seccomp_data``, then go on at ``following``."""
        return self._then(LD_WORD, offset, following)

    def mask(self, k: int, following: int) -> int:
        """Keep only the bits ``k`` of the accumulator, then go on at ``following``."""
        return self._then(AND, k, following)

    def search(self, starts: list[int], places: list[int]) -> int:
        """Binary search: go on at ``places[i]`` for the last ``i`` with ``starts[i] <=`` the accumulator.

        Args:
            starts: ascending; the first one stands for everything below the second.
            places: as many as ``starts``.
        """
        if len(starts) == 1:
            return places[0]
        middle = len(starts) // 2
        high = self.search(starts[middle:], places[middle:])
        low = self.search(starts[:middle], places[:middle])
        return self.jump(JGE, starts[middle], high, low)

    def program(self, entry: int) -> bytes:
        """The finished program, an array of ``struct sock_filter`` in this machine's byte order.

        Raises:
            InvalidInput: it is longer than the kernel takes.
        """
        if self._distance(entry) > 0:
            self._emit(JA, 0, 0, self._distance(entry))
        if len(self._code) > MAX_INSTRUCTIONS:
            raise InvalidInput(
                f"the seccomp policy compiles to {len(self._code)} instructions, the kernel takes {MAX_INSTRUCTIONS}",
                hint="use fewer rules with argument conditions",
            )
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in reversed(self._code))
