"""Transport keypairs and their three slots (section 6.1 to 6.3; protocol words of the Linux driver)."""

from collections.abc import Iterator

from .constants import (
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_ON_RECEIVE_AGE,
)
from .crypto import Aead, Buffer, OpenError
from .drops import Drop, Rejected
from .inner import padding
from .messages import pack_data_header
from .noise import TransportKeys
from .replay import ReplayWindow


class Keypair:
    """One session: two keys, two indices, a send counter, a replay window and an age.

    A data path that carries packets by itself keeps its own counter and window; then `counter` here is
    what it last reported.
    """

    def __init__(self, keys: TransportKeys, created: float) -> None:
        self.local_index = keys.local_index
        self.remote_index = keys.remote_index
        self.initiator = keys.initiator
        self.created = created
        self.counter = 0
        self.send_key = keys.send
        self.receive_key = keys.receive
        self.receive_only = False
        self.rekey_on_receive_done = False
        self.window = ReplayWindow()
        self._sealer = Aead(bytes(keys.send))
        self._opener = Aead(bytes(keys.receive))

    def __repr__(self) -> str:
        return f"Keypair(local={self.local_index:08x}, remote={self.remote_index:08x})"

    def age(self, now: float) -> float:
        return max(0.0, now - self.created)

    def may_send(self, now: float) -> bool:
        """Rule (d): young enough and messages left."""
        return (
            not self.receive_only
            and self.age(now) < REJECT_AFTER_TIME
            and self.counter < REJECT_AFTER_MESSAGES
        )

    def rekey_after_send(self, now: float) -> bool:
        """Rule (b): after this many messages either side, after this long only the initiator."""
        return self.counter > REKEY_AFTER_MESSAGES or (self.initiator and self.age(now) >= REKEY_AFTER_TIME)

    def rekey_after_receive(self, now: float) -> bool:
        """Rule (c): the initiator, once a session, before the key dies in its hands."""
        return self.initiator and not self.rekey_on_receive_done and self.age(now) >= REKEY_ON_RECEIVE_AGE

    def seal(self, packet: Buffer, mtu: int) -> bytes:
        """The data message for an inner packet (empty: keepalive). The caller has asked `may_send`."""
        counter = self.counter
        if counter >= REJECT_AFTER_MESSAGES:
            raise ValueError("the message limit of this key is reached")
        self.counter = counter + 1
        pad = padding(len(packet), mtu)
        plain = bytes(packet) + bytes(pad) if pad else packet
        return pack_data_header(self.remote_index, counter) + self._sealer.seal(counter, plain)

    def open(self, counter: int, sealed: Buffer, now: float) -> bytes:
        """The padded inner packet. Rejected when the key has expired, the tag is bad or it is a replay."""
        if self.age(now) >= REJECT_AFTER_TIME or counter >= REJECT_AFTER_MESSAGES:
            raise Rejected(Drop.KEY_EXPIRED)
        try:
            plain = self._opener.open(counter, sealed)
        except OpenError as error:
            raise Rejected(Drop.BAD_TAG) from error
        if not self.window.accept(counter):
            raise Rejected(Drop.REPLAY)
        return plain

    def wipe(self) -> None:
        self.send_key.wipe()
        self.receive_key.wipe()


class Keypairs:
    """The slots of a peer. Each method returns the keypairs that fell out, wiped of nothing yet."""

    def __init__(self) -> None:
        self.previous: Keypair | None = None
        self.current: Keypair | None = None
        self.next: Keypair | None = None

    def __iter__(self) -> Iterator[Keypair]:
        return (k for k in (self.previous, self.current, self.next) if k is not None)

    def add(self, keypair: Keypair) -> list[Keypair]:
        """A handshake ended: the initiator's key is used at once, the responder's waits in `next`."""
        if not keypair.initiator:
            fallen = [self.previous, self.next]
            self.previous, self.next = None, keypair
        elif self.next is not None:
            fallen = [self.previous, self.current]
            self.previous, self.next, self.current = self.next, None, keypair
        else:
            fallen = [self.previous]
            self.previous, self.current = self.current, keypair
        return [k for k in fallen if k is not None]

    def confirm(self, keypair: Keypair) -> list[Keypair] | None:
        """First authenticated packet under `next` makes it current; None if it is not in `next`."""
        if keypair is not self.next:
            return None
        fallen = [] if self.previous is None else [self.previous]
        self.previous, self.current, self.next = self.current, keypair, None
        return fallen

    def clear(self) -> list[Keypair]:
        fallen = list(self)
        self.previous = self.current = self.next = None
        return fallen
