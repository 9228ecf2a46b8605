"""Addresses of networks: which are in use, and the next that is free. No I/O; one instance is the authority."""

from __future__ import annotations

import ipaddress

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.model.networks import NetworkRecord, Pool
from contextkernel.network.subnets import Address, Network


class Addresses:
    """The addresses of one pool. The lowest free one is given, as docker does.

    Args:
        pool: its subnet's own, its broadcast, the gateway's and the auxiliary addresses are never given.
    """

    def __init__(self, pool: Pool) -> None:
        self.subnet: Network = ipaddress.ip_network(pool.subnet)
        part: Network = ipaddress.ip_network(pool.ip_range, strict=False) if pool.ip_range else self.subnet
        self._first, self._last = int(part.network_address), int(part.broadcast_address)
        self._reserved = {int(ipaddress.ip_address(text)) for text in (pool.gateway, *pool.auxiliary.values()) if text}
        if self.subnet.num_addresses > 2:
            self._reserved.add(int(self.subnet.network_address))
            if self.subnet.version == 4:
                self._reserved.add(int(self.subnet.broadcast_address))
        self._taken: set[int] = set()
        self._hint = self._first  # nothing below it is free

    @property
    def taken(self) -> int:
        """How many addresses are in use."""
        return len(self._taken)

    def take(self, wanted: str = "") -> Address:
        """Mark an address as used, and return it.

        Args:
            wanted: this one; empty for the lowest free one of the range.

        Raises:
            Conflict: it is in use, or none is free. InvalidInput: it lies outside of the subnet.
        """
        number = self._wanted(wanted) if wanted else self._lowest()
        self._taken.add(number)
        return self._address(number)

    def give_back(self, address: str) -> None:
        """Make an address free again. Idempotent."""
        number = int(ipaddress.ip_address(address))
        self._taken.discard(number)
        if self._first <= number <= self._last:
            self._hint = min(self._hint, number)

    def _wanted(self, text: str) -> int:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise InvalidInput(f"invalid address {text!r}") from None
        if address not in self.subnet:
            raise InvalidInput(
                f"no configured subnet contains IP address {text}", hint=f"the network's subnet is {self.subnet}"
            )
        number = int(address)
        if number in self._taken or number in self._reserved:
            raise Conflict("address already in use", hint=f"{text} is taken in {self.subnet}")
        return number

    def _lowest(self) -> int:
        number = self._hint
        while number in self._taken or number in self._reserved:
            number += 1
        if number > self._last:
            raise Conflict(f"no available IPv{self.subnet.version} addresses on this network's address pools")
        self._hint = number
        return number

    def _address(self, number: int) -> Address:
        return ipaddress.IPv4Address(number) if self.subnet.version == 4 else ipaddress.IPv6Address(number)


class Ipam:
    """The addresses of all networks that are in use, by the networks' ids."""

    def __init__(self) -> None:
        self._networks: dict[str, tuple[Addresses, ...]] = {}

    def open(self, network: NetworkRecord) -> None:
        """Begin to give addresses of ``network``. Idempotent."""
        if network.id not in self._networks:
            self._networks[network.id] = tuple(Addresses(pool) for pool in network.pools)

    def close(self, network_id: str) -> None:
        """Forget a network. Idempotent."""
        self._networks.pop(network_id, None)

    def taken(self, network_id: str) -> int:
        """How many addresses of a network are in use."""
        return sum(addresses.taken for addresses in self._networks.get(network_id, ()))

    def take(self, network_id: str, ip: str = "", ip6: str = "") -> tuple[Address | None, Address | None]:
        """An IPv4 and an IPv6 address, each ``None`` where the network has none of the family; all or nothing.

        Raises:
            Conflict, InvalidInput: see :meth:`Addresses.take`.
        """
        got: dict[int, Address] = {}
        try:
            for version, wanted in ((4, ip), (6, ip6)):
                pools = [pool for pool in self._networks[network_id] if pool.subnet.version == version]
                if not pools:
                    if wanted:
                        raise InvalidInput(
                            f"no configured subnet contains IP address {wanted}",
                            hint=f"the network has no IPv{version} subnet",
                        )
                    continue
                got[version] = _fitting(pools, wanted).take(wanted)
        except BaseException:
            for address in got.values():
                self.give_back(network_id, str(address))
            raise
        return got.get(4), got.get(6)

    def give_back(self, network_id: str, *addresses: str) -> None:
        """Make addresses free again; empty ones are skipped. Idempotent."""
        for text in addresses:
            if not text:
                continue
            for pool in self._networks.get(network_id, ()):
                if ipaddress.ip_address(text) in pool.subnet:
                    pool.give_back(text)


def _fitting(pools: list[Addresses], wanted: str) -> Addresses:
    for pool in pools:
        try:
            if wanted and ipaddress.ip_address(wanted) in pool.subnet:
                return pool
        except ValueError:
            break
    return pools[0]
