"""Seccomp policies as values: which system calls a container may make, and under what conditions.

:data:`DEFAULT_POLICY` says what Docker's default profile says (github.com/moby/profiles, seccomp v0.2.3, June 2026,
which moby 29 carries): everything that is not listed fails with EPERM. Rules are in the order of the profile; a name
may occur in several rules, and the first one whose scope and conditions hold decides.

One rule is stricter here: the kernel takes ``socket``'s family as an ``int``, so only its low 32 bits are compared.
Compared as 64 bits, a family with a high bit set would pass "greater than AF_VSOCK" and reach AF_VSOCK or AF_ALG.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

# <linux/seccomp.h>, in falling precedence
KILL_PROCESS = 0x8000_0000
KILL_THREAD = 0x0000_0000
TRAP = 0x0003_0000
ERRNO = 0x0005_0000
NOTIFY = 0x7FC0_0000
TRACE = 0x7FF0_0000
LOG = 0x7FFC_0000
ALLOW = 0x7FFF_0000

EPERM = 1
ENOSYS = 38
EAFNOSUPPORT = 97
AF_UNIX = 1


def fail_with(number: int) -> int:
    """The verdict that makes a call return -1 with errno ``number`` (0: success without doing anything)."""
    return ERRNO | number & 0xFFFF


class Operator(StrEnum):
    """How an argument is compared; the values are the names of Docker-format profiles."""

    NOT_EQUAL = "SCMP_CMP_NE"
    LESS = "SCMP_CMP_LT"
    LESS_OR_EQUAL = "SCMP_CMP_LE"
    EQUAL = "SCMP_CMP_EQ"
    GREATER_OR_EQUAL = "SCMP_CMP_GE"
    GREATER = "SCMP_CMP_GT"
    MASKED_EQUAL = "SCMP_CMP_MASKED_EQ"


class Condition(msgspec.Struct, frozen=True):
    """A comparison with one argument of a system call, unsigned.

    Attributes:
        index: which argument, from 0 to 5.
        operator: the comparison.
        value: compared with; for :attr:`Operator.MASKED_EQUAL` the mask.
        masked: what the masked argument must equal, for :attr:`Operator.MASKED_EQUAL`.
        bits: 64, or 32 for an argument that the kernel truncates to 32 bits.
    """

    index: int
    operator: Operator
    value: int
    masked: int = 0
    bits: int = 64


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Circumstances of a container; an empty part does not matter.

    Attributes:
        capabilities: names such as ``CAP_SYS_ADMIN``.
        architectures: ``amd64``, ``arm64`` ... (Docker's words) of the machine, not of the program.
        kernel: least version, major and minor.
    """

    capabilities: frozenset[str] = frozenset()
    architectures: frozenset[str] = frozenset()
    kernel: tuple[int, int] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of some system calls.

    Attributes:
        names: of the system calls; names that an architecture does not have are passed over.
        action: verdict, SECCOMP_RET_* with its data.
        conditions: all must hold; none: always.
        when: the rule counts only when all the capabilities are there, on one of the architectures.
        unless: the rule does not count when any of the capabilities is there, or on one of the architectures.
    """

    names: tuple[str, ...]
    action: int = ALLOW
    conditions: tuple[Condition, ...] = ()
    when: Scope = Scope()
    unless: Scope = Scope()

    def applies(self, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
        """Whether the rule counts for a container with this bounding set on this machine."""
        when, unless = self.when, self.unless
        if unless.capabilities & capabilities or architecture in unless.architectures:
            return False
        if unless.kernel is not None and kernel >= unless.kernel:
            return False
        if not when.capabilities <= capabilities:
            return False
        if when.architectures and architecture not in when.architectures:
            return False
        return when.kernel is None or kernel >= when.kernel


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules in order, and the verdict for calls that none of them decides.

    Attributes:
        rules: the first one whose scope and conditions hold decides.
        default: verdict for all other calls.
        abis: names of the system call tables that may be used, such as ``x86_64`` and ``i386``; calls through any other
            end the process. ``None``: all of the machine's, and with :data:`ALLOW` as the default any.
        log: the kernel notes in its log what is refused.
    """

    rules: tuple[Rule, ...]
    default: int = ERRNO | EPERM
    abis: tuple[str, ...] | None = None
    log: bool = False


_EVERYWHERE = """
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs
fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32
getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier
memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open
openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat
shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice
stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write
writev
"""

_FAMILY_ALG, _FAMILY_VSOCK = 38, 40  # AF_ALG, AF_VSOCK; between them only AF_NFC
_CLONE_NAMESPACES = 0x7E02_0000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_PERSONALITIES = (
    0x0000_0000,  # PER_LINUX
    0x0000_0008,  # PER_LINUX32
    0x0002_0000,  # PER_LINUX | UNAME26
    0x0002_0008,  # PER_LINUX32 | UNAME26
    0xFFFF_FFFF,  # asks without changing
)


def _socket_family(operator: Operator, family: int) -> Rule:
    return Rule(names=("socket",), conditions=(Condition(0, operator, family, bits=32),))


def _with_capability(name: str, calls: str) -> Rule:
    return Rule(names=tuple(calls.split()), when=Scope(capabilities=frozenset({name})))


def _on(architectures: str, calls: str) -> Rule:
    return Rule(names=tuple(calls.split()), when=Scope(architectures=frozenset(architectures.split())))


_ADMIN = frozenset({"CAP_SYS_ADMIN"})

DEFAULT_POLICY = Policy(
    rules=(
        Rule(names=tuple(_EVERYWHERE.split())),
        # before 4.8 a tracer could change a call after seccomp had looked at it
        Rule(names=("process_vm_readv", "process_vm_writev", "ptrace"), when=Scope(kernel=(4, 8))),
        _socket_family(Operator.LESS, _FAMILY_ALG),
        _socket_family(Operator.EQUAL, _FAMILY_ALG + 1),
        _socket_family(Operator.GREATER, _FAMILY_VSOCK),
        *(Rule(names=("personality",), conditions=(Condition(0, Operator.EQUAL, value),)) for value in _PERSONALITIES),
        _on("arm arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
        _on("amd64 x32", "arch_prctl"),
        _on("amd64 x32 x86", "modify_ldt"),
        _with_capability("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        _with_capability(
            "CAP_SYS_ADMIN",
            "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr"
            " lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl"
            " quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
        ),
        Rule(
            names=("clone",),
            conditions=(Condition(0, Operator.MASKED_EQUAL, _CLONE_NAMESPACES, masked=0),),
            unless=Scope(capabilities=_ADMIN),
        ),
        # its flags are behind a pointer, out of a filter's sight; C libraries fall back to clone
        Rule(names=("clone3",), action=fail_with(ENOSYS), unless=Scope(capabilities=_ADMIN)),
        _with_capability("CAP_SYS_BOOT", "reboot"),
        _with_capability("CAP_SYS_CHROOT", "chroot"),
        _with_capability("CAP_SYS_MODULE", "delete_module init_module finit_module"),
        _with_capability("CAP_SYS_PACCT", "acct"),
        _with_capability(
            "CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"
        ),
        _with_capability("CAP_SYS_RAWIO", "iopl ioperm"),
        _with_capability("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
        _with_capability("CAP_SYS_TTY_CONFIG", "vhangup"),
        _with_capability("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
        _with_capability("CAP_SYSLOG", "syslog"),
        _with_capability("CAP_BPF", "bpf"),
        _with_capability("CAP_PERFMON", "perf_event_open"),
    )
)

_OWNERS = "chown fchown lchown fchownat chown32 fchown32 lchown32"
_IDENTITIES = """
setuid setgid setreuid setregid setgroups setresuid setresgid setfsuid setfsgid capset
setuid32 setgid32 setreuid32 setregid32 setgroups32 setresuid32 setresgid32 setfsuid32 setfsgid32
"""
_FILE_TYPE = 0o170000  # S_IFMT
_CHARACTER_DEVICE, _BLOCK_DEVICE = 0o020000, 0o060000


def _device_nodes(name: str, mode_argument: int, action: int) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            names=(name,),
            action=action,
            conditions=(Condition(mode_argument, Operator.MASKED_EQUAL, _FILE_TYPE, masked=kind, bits=32),),
        )
        for kind in (_CHARACTER_DEVICE, _BLOCK_DEVICE)
    )


def _one_id(owners: int) -> Policy:
    """Identities are faked; ``owners`` is what becomes of changes of owner and of device nodes."""
    return Policy(
        rules=(
            Rule(names=tuple(_IDENTITIES.split()), action=fail_with(0)),
            Rule(names=tuple(_OWNERS.split()), action=owners),
            *_device_nodes("mknod", 1, owners),
            *_device_nodes("mknodat", 2, owners),
        ),
        default=ALLOW,
    )


#: Where only one id is mapped, calls that change owners or identities cannot work. They are answered with success
#: and do nothing, as Charliecloud does; device nodes, which no user namespace may make, likewise. FIFOs and sockets
#: are made as asked. Everything else is allowed: this policy is installed beside the default one. It holds for whoever
#: installed it as well: a container's own setuid and capset come first.
FAKE_IDS_POLICY = _one_id(fail_with(0))

#: The same with a process outside that answers changes of owner and device nodes, and keeps what they say
#: (:func:`contextkernel.linux.seccomp_notify.install_listener`).
RECORDED_IDS_POLICY = _one_id(NOTIFY)

#: What is left of sockets for ``--network none`` without a network namespace. socketcall(2) of 32-bit programs hides
#: what it does behind a pointer; io_uring can make sockets as well.
UNIX_SOCKETS_POLICY = Policy(
    rules=(
        Rule(
            names=("socket",),
            action=fail_with(EAFNOSUPPORT),
            conditions=(Condition(index=0, operator=Operator.NOT_EQUAL, value=AF_UNIX, bits=32),),
        ),
        Rule(names=("socketcall",), action=fail_with(EAFNOSUPPORT)),
        Rule(names=("io_uring_setup",), action=fail_with(ENOSYS)),
    ),
    default=ALLOW,
)
