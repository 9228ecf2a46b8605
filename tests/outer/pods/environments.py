"""The environments: how each is started. What is expected in each stands in ``expected.toml``."""

from __future__ import annotations

from dataclasses import dataclass

UNCONFINED = ("--security-opt", "seccomp=unconfined")
NO_NEW_PRIVILEGES = ("--security-opt", "no-new-privileges")
ONE_GIGABYTE = ("--memory", "1g", "--memory-swap", "1g", "--cpus", "1")
#: the program is there and cannot be started: for the user it is not installed
NO_PROOT = ("--volume", "/dev/null:/usr/bin/proot")
COURSE = ("01-first-image", "02-a-c-program", "03-multi-stage-and-scratch")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A container of docker's with a user of uid 1000.

    Attributes:
        name: as in ``expected.toml`` and on the command line of ``run.py``.
        options: of ``docker run``.
        volume: the store is on a volume; otherwise in the home, which is the image's.
        notebooks: which run.
        seconds: a guess, to begin with what takes longest.
    """

    name: str
    options: tuple[str, ...] = ()
    volume: bool = False
    notebooks: tuple[str, ...] = COURSE
    seconds: int = 60


@dataclass(frozen=True, kw_only=True)
class BareUser:
    """An ordinary user of this machine, in no container.

    Attributes:
        name: as in ``expected.toml``.
        ranges: whether the user has subordinate ids.
        notebooks: which run.
        seconds: a guess.
    """

    name: str
    ranges: bool
    notebooks: tuple[str, ...] = COURSE
    seconds: int = 40


Environment = Pod | BareUser

ENVIRONMENTS: tuple[Environment, ...] = (
    Pod(name="default", seconds=200),
    Pod(name="default-nnp", options=NO_NEW_PRIVILEGES, seconds=200),
    Pod(name="unconfined", options=(*UNCONFINED, *ONE_GIGABYTE)),
    Pod(name="unconfined-nnp", options=(*UNCONFINED, *NO_NEW_PRIVILEGES)),
    Pod(name="unmasked", options=(*UNCONFINED, "--security-opt", "systempaths=unconfined")),
    Pod(name="volume", options=UNCONFINED, volume=True, notebooks=COURSE[:2], seconds=40),
    Pod(name="no-proot", options=NO_PROOT, notebooks=COURSE[:1], seconds=15),
    BareUser(name="user-range", ranges=True),
    BareUser(name="user-single", ranges=False),
)
