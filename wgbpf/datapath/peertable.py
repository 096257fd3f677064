"""What the Python data path keeps of a peer: where it is, its keys in use, counters and stamps."""

from ..protocol.actions import Traffic
from ..protocol.addresses import Path
from ..protocol.keypairs import Keypair


class PeerRecord:
    """Stamps are CLOCK_BOOTTIME seconds; see Traffic for their meaning."""

    __slots__ = (
        "last_data_received",
        "last_data_sent",
        "last_received",
        "last_sent",
        "number",
        "path",
        "rx_bytes",
        "rx_packets",
        "sending",
        "tx_bytes",
        "tx_packets",
        "unanswered_received",
        "unanswered_sent",
        "unconfirmed",
    )

    def __init__(self, number: int, path: Path | None) -> None:
        self.number = number
        self.path = path
        self.sending: Keypair | None = None
        self.unconfirmed: Keypair | None = None
        self.rx_bytes = self.tx_bytes = self.rx_packets = self.tx_packets = 0
        self.last_sent: float | None = None
        self.last_received: float | None = None
        self.last_data_sent: float | None = None
        self.last_data_received: float | None = None
        self.unanswered_sent: float | None = None
        self.unanswered_received: float | None = None

    def sent(self, size: int, now: float, empty: bool) -> None:
        self.tx_bytes += size
        self.tx_packets += 1
        self.last_sent = now
        self.unanswered_received = None
        if not empty:
            self.last_data_sent = now
            if self.unanswered_sent is None:
                self.unanswered_sent = now

    def received(self, now: float, empty: bool) -> None:
        """An authentic packet, counted or not: even one that is refused for its inside proves the peer."""
        self.last_received = now
        self.unanswered_sent = None
        if not empty:
            self.last_data_received = now
            if self.unanswered_received is None:
                self.unanswered_received = now

    def traffic(self) -> Traffic:
        return Traffic(
            self.number,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_packets,
            self.tx_packets,
            self.last_sent,
            self.last_received,
            self.last_data_sent,
            self.last_data_received,
            self.unanswered_sent,
            self.unanswered_received,
            0 if self.sending is None else self.sending.counter,
        )
