"""The first program that a traced container runs: two hundred bytes of machine code that stand between proot and it.

proot 5.1.0 exits with the status of whichever program ended last, says nothing of signals, goes on until the last one
has ended, and hands its own environment on. So the program is started by one that is written here, instruction by
instruction, because the image may have nothing to do it with, not even a shell. It

1. takes the variables for proot off the environment: all up to one whose name is the byte 1. A byte 1 in front of
   another name is taken off: ``LD_PRELOAD`` is meant for the program, and not for proot;
2. blocks all signals, and forks. The child unblocks them and executes its second argument, with the arguments from the
   third on. If that fails it writes the negative errno to descriptor 4, which closes when it succeeds;
3. writes the child's pid to descriptor 4, and collects whatever ends until the child has;
4. writes the child's wait status there, and sends SIGQUIT to its parent, proot, which kills all that is left and exits.

Each number is four bytes, signed. Who reads them: :mod:`contextkernel.runtime.traced_monitor`.
"""

from __future__ import annotations

import os
import struct

from contextkernel.errors import HostUnsupported

#: where the numbers are written to
DESCRIPTOR = 4
#: name of the variable that ends those for proot, and what stands before the name of one that proot must not heed
MARK = "\x01"

_BASE = 0x40_0000  # where it is loaded: proot's own loader is far above
_HEADERS = 64 + 56

#: machine code and what it says; ``:name`` is a place that is jumped to
_X86_64 = """
    :_start
    488b3c24         mov rdi,[rsp]
    488d5c2408       lea rbx,[rsp+0x8]
    488d6cfb08       lea rbp,[rbx+rdi*8+0x8]
    :skip
    488b4500         mov rax,[rbp+0x0]
    4885c0           test rax,rax
    0f8414010000     je fail
    4883c508         add rbp,0x8
    668138013d       cmp word [rax],0x3d01
    75e8             jne skip
    4889ea           mov rdx,rbp
    :strip
    488b02           mov rax,[rdx]
    4885c0           test rax,rax
    740e             je begin
    803801           cmp byte [rax],0x1
    7503             jne next
    48ff02           inc [rdx]
    :next
    4883c208         add rdx,0x8
    ebea             jmp strip
    :begin
    6aff             push 0xffffffffffffffff
    6aff             push 0xffffffffffffffff
    bf02000000       mov edi,0x2
    488d742408       lea rsi,[rsp+0x8]
    4889e2           mov rdx,rsp
    41ba08000000     mov r10d,0x8
    b80e000000       mov eax,0xe
    0f05             syscall
    b839000000       mov eax,0x39
    0f05             syscall
    85c0             test eax,eax
    0f88c3000000     js fail
    746d             je child
    4189c4           mov r12d,eax
    50               push rax
    bf04000000       mov edi,0x4
    4889e6           mov rsi,rsp
    ba04000000       mov edx,0x4
    b801000000       mov eax,0x1
    0f05             syscall
    :wait
    48c7c7ffffffff   mov rdi,0xffffffffffffffff
    4889e6           mov rsi,rsp
    31d2             xor edx,edx
    4531d2           xor r10d,r10d
    b83d000000       mov eax,0x3d
    0f05             syscall
    83f8fc           cmp eax,0xfffffffc
    74e5             je wait
    85c0             test eax,eax
    0f8886000000     js fail
    4439e0           cmp eax,r12d
    75d8             jne wait
    bf04000000       mov edi,0x4
    4889e6           mov rsi,rsp
    ba04000000       mov edx,0x4
    b801000000       mov eax,0x1
    0f05             syscall
    b86e000000       mov eax,0x6e
    0f05             syscall
    89c7             mov edi,eax
    be03000000       mov esi,0x3
    b83e000000       mov eax,0x3e
    0f05             syscall
    31ff             xor edi,edi
    eb59             jmp end
    :child
    bf02000000       mov edi,0x2
    4889e6           mov rsi,rsp
    31d2             xor edx,edx
    41ba08000000     mov r10d,0x8
    b80e000000       mov eax,0xe
    0f05             syscall
    bf04000000       mov edi,0x4
    be02000000       mov esi,0x2
    ba01000000       mov edx,0x1
    b848000000       mov eax,0x48
    0f05             syscall
    488b7b08         mov rdi,[rbx+0x8]
    488d7310         lea rsi,[rbx+0x10]
    4889ea           mov rdx,rbp
    b83b000000       mov eax,0x3b
    0f05             syscall
    50               push rax
    bf04000000       mov edi,0x4
    4889e6           mov rsi,rsp
    ba04000000       mov edx,0x4
    b801000000       mov eax,0x1
    0f05             syscall
    :fail
    bf7f000000       mov edi,0x7f
    :end
    b8e7000000       mov eax,0xe7
    0f05             syscall
"""

_AARCH64 = """
    :_start
    e00340f9 ldr x0, [sp]
    f3230091 add x19, sp, #0x8
    740e008b add x20, x19, x0, lsl #3
    94220091 add x20, x20, #0x8
    :skip
    818640f8 ldr x1, [x20], #8
    610a00b4 cbz x1, fail
    22004079 ldrh w2, [x1]
    24a08752 mov w4, #0x3d01
    5f00046b cmp w2, w4
    61ffff54 b.ne skip
    e30314aa mov x3, x20
    :strip
    618440f8 ldr x1, [x3], #8
    e10000b4 cbz x1, begin
    22004039 ldrb w2, [x1]
    5f040071 cmp w2, #0x1
    81ffff54 b.ne strip
    21040091 add x1, x1, #0x1
    61801ff8 stur x1, [x3, #-8]
    f9ffff17 b strip
    :begin
    01008092 mov x1, #0xffffffffffffffff
    e107bfa9 stp x1, x1, [sp, #-16]!
    400080d2 mov x0, #0x2
    e1030091 mov x1, sp
    e2230091 add x2, sp, #0x8
    030180d2 mov x3, #0x8
    e81080d2 mov x8, #0x87
    010000d4 svc #0x0
    200280d2 mov x0, #0x11
    010080d2 mov x1, #0x0
    020080d2 mov x2, #0x0
    030080d2 mov x3, #0x0
    040080d2 mov x4, #0x0
    881b80d2 mov x8, #0xdc
    010000d4 svc #0x0
    c006f837 tbnz w0, #31, fail
    e0030034 cbz w0, child
    f503002a mov w21, w0
    e00300b9 str w0, [sp]
    800080d2 mov x0, #0x4
    e1030091 mov x1, sp
    820080d2 mov x2, #0x4
    080880d2 mov x8, #0x40
    010000d4 svc #0x0
    :wait
    00008092 mov x0, #0xffffffffffffffff
    e1030091 mov x1, sp
    020080d2 mov x2, #0x0
    030080d2 mov x3, #0x0
    882080d2 mov x8, #0x104
    010000d4 svc #0x0
    1f100031 cmn w0, #0x4
    20ffff54 b.eq wait
    a004f837 tbnz w0, #31, fail
    1f00156b cmp w0, w21
    c1feff54 b.ne wait
    800080d2 mov x0, #0x4
    e1030091 mov x1, sp
    820080d2 mov x2, #0x4
    080880d2 mov x8, #0x40
    010000d4 svc #0x0
    a81580d2 mov x8, #0xad
    010000d4 svc #0x0
    610080d2 mov x1, #0x3
    281080d2 mov x8, #0x81
    010000d4 svc #0x0
    000080d2 mov x0, #0x0
    18000014 b end
    :child
    400080d2 mov x0, #0x2
    e1230091 add x1, sp, #0x8
    020080d2 mov x2, #0x0
    030180d2 mov x3, #0x8
    e81080d2 mov x8, #0x87
    010000d4 svc #0x0
    800080d2 mov x0, #0x4
    410080d2 mov x1, #0x2
    220080d2 mov x2, #0x1
    280380d2 mov x8, #0x19
    010000d4 svc #0x0
    600640f9 ldr x0, [x19, #8]
    61420091 add x1, x19, #0x10
    e20314aa mov x2, x20
    a81b80d2 mov x8, #0xdd
    010000d4 svc #0x0
    e00300b9 str w0, [sp]
    800080d2 mov x0, #0x4
    e1030091 mov x1, sp
    820080d2 mov x2, #0x4
    080880d2 mov x8, #0x40
    010000d4 svc #0x0
    :fail
    e00f80d2 mov x0, #0x7f
    :end
    c80b80d2 mov x8, #0x5e
    010000d4 svc #0x0
"""

#: ``e_machine`` of <linux/elf-em.h>, and the listing
_MACHINES = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64)}


def code_of(listing: str) -> bytes:
    """The bytes of a listing: the first word of each line that is not a place."""
    words = (line.split()[0] for line in listing.splitlines() if line.strip())
    return b"".join(bytes.fromhex(word) for word in words if not word.startswith(":"))


def starter(machine: str | None = None) -> bytes:
    """The program as an executable file (ELF, static, one segment).

    Args:
        machine: as ``uname -m`` says it; this one by default.

    Raises:
        HostUnsupported: it is not written for this machine.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise HostUnsupported(
            f"containers without namespaces are not supported on {machine}", hint=f"supported: {', '.join(_MACHINES)}"
        )
    number, listing = _MACHINES[machine]
    code = code_of(listing)
    size = _HEADERS + len(code)
    # elf(5): 64 bits, little-endian, ET_EXEC; one PT_LOAD that can be read and executed
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code
