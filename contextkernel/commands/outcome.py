"""What a command came to: a typed value for the face to show, and the exit code.

A face turns the value into text (:func:`contextkernel.commands.tables.text_of`), a DataFrame or a document; it
shows the value first and the problems after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from contextkernel.errors import ContextKernelError
    from contextkernel.model.checks import CheckReport, Outline, Targets
    from contextkernel.model.remote import RemoteImage
    from contextkernel.model.results import BuildResult, HostReport, RunResult

TableKind = Literal[
    "images",
    "builds",
    "build_steps",
    "history",
    "containers",
    "compare",
    "bases",
    "findings",
    "explanation",
    "cache",
    "usage",
    "stats",
    "namespaces",
    "networks",
    "volumes",
    "changes",
    "events",
    "registries",
    "registry_images",
    "search",
    "platforms",
    "layers",
    "remote_history",
]


class TableOptions(Struct, frozen=True, kw_only=True):
    """How the user wants a table; a DataFrame always has everything, and shows the digests if they are wanted.

    Attributes:
        no_trunc: ids, commands and digests in full.
        digests: add the DIGEST column (images).
        size: add the SIZE column (containers).
        human: sizes and times for people (history ``--human``).
    """

    no_trunc: bool = False
    digests: bool = False
    size: bool = False
    human: bool = True


class Table(Struct, frozen=True):
    """Rows of one kind.

    See model.results: ImageRow, HistoryRow, ContainerRow, CompareRow, BaseRow, CheckFinding; model.explanation:
    StepExplanation; model.cache: CacheRow, UsageRow.
    """

    kind: TableKind
    rows: tuple[Struct, ...]
    options: TableOptions = TableOptions()


class Text(Struct, frozen=True):
    """Finished text for standard output, with its line ends: ``-q`` lists, ``--format`` output, names, help."""

    text: str


class DocumentText(Text, frozen=True):
    """JSON as docker writes it, byte for byte; ``documents`` is the same, read."""

    documents: tuple[dict[str, Any], ...] = ()


class Platforms(Table, frozen=True):
    """The platforms of an index; ``remote`` is all that was found out, for those who draw it."""

    remote: RemoteImage | None = None


class Detached(Text, frozen=True):
    """The id of a container that goes on in the background, as text; ``container`` is the id alone."""

    container: str = ""


class Ports(Text, frozen=True):
    """The published ports of a container as docker writes them; ``places`` are the same as values.

    Attributes:
        places: port inside, protocol, address and port of the host.
    """

    places: tuple[tuple[int, str, str, int], ...] = ()


class Served(Text, frozen=True):
    """The address of a registry that was started, as text; ``address`` is it alone."""

    address: str = ""


class Document(Struct, frozen=True):
    """Documents of ``inspect``, in the order of the names."""

    documents: tuple[dict[str, Any], ...]


class Built(Struct, frozen=True):
    """A finished build; ``quiet``: the user wants the image id and nothing else (``-q``)."""

    result: BuildResult
    quiet: bool = False


class Ran(Struct, frozen=True):
    """A finished container; its output was relayed as it came, so only the exit code is left to say."""

    result: RunResult


class Host(Struct, frozen=True):
    """What this host allows (``doctor``)."""

    report: HostReport


class Looked(Struct, frozen=True):
    """What was found by looking at a Dockerfile; ``as_json``: the user wants docker's JSON (``format=json``)."""

    value: CheckReport | Outline | Targets
    as_json: bool = False


class Grid(Struct, frozen=True):
    """Lines of text cells below headings that are known only now (``top``)."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Nothing(Struct, frozen=True):
    """Done, and nothing to show."""


Value: TypeAlias = Table | Grid | Text | Document | Built | Ran | Host | Looked | Nothing


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of one command.

    Attributes:
        value: what to show.
        exit_code: what the process would exit with, docker's numbers.
        problems: what went wrong for some of several names (``rm a b``, ``inspect a b``) after which the command went
            on; never empty when ``exit_code`` comes from a problem. A command that fails as a whole raises instead.
    """

    value: Value
    exit_code: int = 0
    problems: tuple[ContextKernelError, ...] = ()
