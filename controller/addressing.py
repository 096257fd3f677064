"""Addresses and routes of the interface, as wg-quick would set them."""

from wgbpf.config.wgfile import WgFile
from wgbpf.datapath.netlink import Netlink


def bring_up(netlink: Netlink, index: int, file: WgFile | None) -> list[str]:
    """Addresses, up, routes to the allowed IPs. They vanish with the interface. Returns notes."""
    notes: list[str] = []
    if file is not None:
        for address in file.interface.addresses:
            netlink.add_address(index, address)
    netlink.set_up(index)
    if file is None or file.interface.table == "off":
        return notes
    table = file.interface.table if isinstance(file.interface.table, int) else None
    networks = {network for peer in file.peers for network in peer.allowed_ips}
    for network in sorted(networks, key=lambda n: (n.version, -n.prefixlen, int(n.network_address))):
        if network.prefixlen == 0 and table is None:
            notes.append(f"no default route was added for {network}: wg-quick can, or `Table = N`")
        else:
            netlink.add_route(index, network, table)
    return notes
