"""Content of /etc/hosts and /etc/resolv.conf in a container: docker's. Pure.

Source of the rules: moby, daemon/libnetwork/etchosts and daemon/libnetwork/internal/resolvconf.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contextkernel.model.networks import Endpoint

RESOLVER = "127.0.0.11"

_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_FALLBACK = ("8.8.8.8", "8.8.4.4")  # docker's, for a host whose resolvers are its own


def hosts_file(hosts: Iterable[tuple[str, str]], endpoints: Iterable[Endpoint], names: str) -> str:
    """/etc/hosts of a container with a network of its own.

    Args:
        hosts: more ``(name, address)``.
        endpoints: its connections.
        names: of itself, in the order of :func:`own_names`.
    """
    more = "".join(f"{address}\t{name}\n" for name, address in hosts)
    return f"{_HOSTS}{more}{own_lines(endpoints, names)}"


def own_lines(endpoints: Iterable[Endpoint], names: str) -> str:
    """The lines that name the container itself, one for each address."""
    addresses = [address for one in endpoints for address in (one.ip, one.ip6) if address]
    return "".join(f"{address}\t{names}\n" for address in addresses)


def own_names(hostname: str, domainname: str) -> str:
    """What a container is called in its own /etc/hosts: in full, and up to the first dot (libnetwork, sandbox_dns)."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short, dot, _ = full.partition(".")
    return f"{full} {short}" if dot else full


def changed_hosts(text: str, before: Iterable[Endpoint], after: Iterable[Endpoint], names: str) -> str:
    """/etc/hosts of a running container whose connections have changed; all other lines stay."""
    old = set(own_lines(before, names).splitlines())
    kept = "".join(f"{line}\n" for line in text.splitlines() if line not in old)
    return kept + own_lines(after, names)


def resolv_file(
    host: str, *, resolver: bool, servers: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """/etc/resolv.conf of a container.

    Args:
        host: text of the host's.
        resolver: names are resolved at :data:`RESOLVER`.
        servers, search, options: instead of the host's where not empty; a single ``.`` in ``search`` is none at all.
    """
    own_servers, own_search, own_options = _read(host)
    chosen_servers = [RESOLVER] if resolver else list(servers) or outside(own_servers)
    chosen_search = [word for word in search or own_search if word != "."]
    chosen_options = list(options or own_options)
    if resolver and not any(option.startswith("ndots:") for option in chosen_options):
        chosen_options.append("ndots:0")
    lines = [f"nameserver {server}" for server in chosen_servers]
    if chosen_search:
        lines.append(f"search {' '.join(chosen_search)}")
    if chosen_options:
        lines.append(f"options {' '.join(chosen_options)}")
    return "".join(f"{line}\n" for line in lines)


def outside(servers: Iterable[str]) -> list[str]:
    """Those that can be reached from another network namespace; docker's choice if there are none."""
    return [server for server in servers if not _is_loopback(server)] or list(_FALLBACK)


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"


def _read(text: str) -> tuple[list[str], list[str], list[str]]:
    """Name servers, search list and options (resolv.conf(5))."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split("#")[0].split(";")[0].split():
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search" | "domain", *words]:
                search = words
            case ["options", *words]:
                options += words
    return servers, search, options
