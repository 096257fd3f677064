"""Noise_IKpsk2 as WireGuard uses it (sections 5.4.2 to 5.4.5).

Creating and consuming a message are mirrors: the same tokens in the same order, `seal` on one side and
`open` on the other. Nothing of a peer changes here; a consumed message is a value, and committing it is
the caller's decision.
"""

from dataclasses import dataclass, field

from .constants import CONSTRUCTION, IDENTIFIER
from .crypto import Aead, Buffer, OpenError, PrivateKey, Secret, hash_, kdf
from .drops import Drop, Rejected
from .messages import Initiation, Response

INITIAL_CHAINING_KEY = hash_(CONSTRUCTION)
INITIAL_HASH = hash_(INITIAL_CHAINING_KEY, IDENTIFIER)


class Symmetric:
    """The running hash and chaining key of one handshake."""

    __slots__ = ("chaining_key", "hash")

    def __init__(self, chaining_key: Buffer, hash_value: bytes) -> None:
        self.chaining_key = Secret(chaining_key)
        self.hash = hash_value

    @classmethod
    def start(cls, responder_static: bytes) -> "Symmetric":
        return cls(INITIAL_CHAINING_KEY, hash_(INITIAL_HASH, responder_static))

    def copy(self) -> "Symmetric":
        return Symmetric(bytes(self.chaining_key), self.hash)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hash_(self.hash, data)

    def mix_ephemeral(self, public: bytes) -> None:
        """Token e: the PSK variants of Noise mix the ephemeral into the chaining key too."""
        self.mix_hash(public)
        self._chain(kdf(1, bytes(self.chaining_key), public)[0])

    def mix_key(self, shared: bytes) -> bytes:
        """A DH token; returns the key for the next `seal` or `open`."""
        chaining_key, key = kdf(2, bytes(self.chaining_key), shared)
        self._chain(chaining_key)
        return key

    def mix_psk(self, psk: Buffer) -> bytes:
        chaining_key, temporary, key = kdf(3, bytes(self.chaining_key), psk)
        self._chain(chaining_key)
        self.mix_hash(temporary)
        return key

    def seal(self, key: bytes, plain: bytes) -> bytes:
        sealed = Aead(key).seal(0, plain, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, key: bytes, sealed: bytes) -> bytes:
        plain = Aead(key).open(0, sealed, self.hash)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[Secret, Secret]:
        """The transport keys (T1, T2): the initiator sends with T1, the responder with T2."""
        first, second = kdf(2, bytes(self.chaining_key), b"")
        return Secret(first), Secret(second)

    def wipe(self) -> None:
        self.chaining_key.wipe()
        self.hash = b""

    def _chain(self, chaining_key: bytes) -> None:
        self.chaining_key.wipe()
        self.chaining_key = Secret(chaining_key)


@dataclass(slots=True)
class PendingInitiation:
    """What the initiator remembers until the response arrives."""

    index: int
    ephemeral: PrivateKey
    symmetric: Symmetric

    def wipe(self) -> None:
        self.symmetric.wipe()


@dataclass(frozen=True, slots=True)
class ConsumedInitiation:
    """An authentic initiation: who sent it, when, and the state to answer from."""

    peer_static: bytes
    timestamp: bytes
    sender: int
    ephemeral: bytes
    symmetric: Symmetric = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportKeys:
    """What a handshake ends in, from the view of one side."""

    send: Secret
    receive: Secret
    local_index: int
    remote_index: int
    initiator: bool


def create_initiation(
    me: PrivateKey, peer_static: bytes, static_static: bytes, index: int, ephemeral: PrivateKey, stamp: bytes
) -> tuple[Initiation, PendingInitiation]:
    """-> e, es, s, ss, {t}. `static_static` is DH(me, peer), which a peer keeps."""
    s = Symmetric.start(peer_static)
    s.mix_ephemeral(ephemeral.public)  # e
    key = s.mix_key(ephemeral.dh(peer_static))  # es
    static = s.seal(key, me.public)  # s
    key = s.mix_key(static_static)  # ss
    timestamp = s.seal(key, stamp)  # {t}
    return Initiation(index, ephemeral.public, static, timestamp), PendingInitiation(index, ephemeral, s)


def consume_initiation(me: PrivateKey, message: Initiation) -> ConsumedInitiation:
    """The mirror of create_initiation; raises Rejected when any part of it does not open."""
    s = Symmetric.start(me.public)
    try:
        s.mix_ephemeral(message.ephemeral)  # e
        key = s.mix_key(me.dh(message.ephemeral))  # es
        static = s.open(key, message.static)  # s
        key = s.mix_key(me.dh(static))  # ss
        timestamp = s.open(key, message.timestamp)  # {t}
    except OpenError as error:
        raise Rejected(Drop.BAD_HANDSHAKE) from error
    return ConsumedInitiation(static, timestamp, message.sender, message.ephemeral, s)


def create_response(
    initiation: ConsumedInitiation, psk: Secret, index: int, ephemeral: PrivateKey
) -> tuple[Response, TransportKeys]:
    """<- e, ee, se, psk, {}. Raises Rejected for a low-order key of the initiator."""
    s = initiation.symmetric.copy()
    try:
        s.mix_ephemeral(ephemeral.public)  # e
        s.mix_key(ephemeral.dh(initiation.ephemeral))  # ee
        s.mix_key(ephemeral.dh(initiation.peer_static))  # se
    except OpenError as error:
        raise Rejected(Drop.BAD_HANDSHAKE) from error
    key = s.mix_psk(bytes(psk))  # psk
    empty = s.seal(key, b"")  # {}
    first, second = s.split()
    s.wipe()
    initiation.symmetric.wipe()
    message = Response(index, initiation.sender, ephemeral.public, empty)
    return message, TransportKeys(second, first, index, initiation.sender, initiator=False)


def consume_response(
    me: PrivateKey, pending: PendingInitiation, psk: Secret, message: Response
) -> TransportKeys:
    """The mirror of create_response; raises Rejected and leaves `pending` usable."""
    s = pending.symmetric.copy()
    try:
        s.mix_ephemeral(message.ephemeral)  # e
        s.mix_key(pending.ephemeral.dh(message.ephemeral))  # ee
        s.mix_key(me.dh(message.ephemeral))  # se
        key = s.mix_psk(bytes(psk))  # psk
        s.open(key, message.empty)  # {}
    except OpenError as error:
        raise Rejected(Drop.BAD_HANDSHAKE) from error
    first, second = s.split()
    s.wipe()
    return TransportKeys(first, second, pending.index, message.sender, initiator=True)
