"""Published vectors, and the values of a whole handshake with fixed keys."""

import hashlib
from ipaddress import IPv4Address

import pytest

from wgbpf.protocol import noise, tai64n
from wgbpf.protocol.addresses import Endpoint
from wgbpf.protocol.cookies import CookieChecker, CookieMaker
from wgbpf.protocol.crypto import (
    Aead,
    OpenError,
    PrivateKey,
    Secret,
    clamp,
    hash_,
    hchacha20,
    kdf,
    mac,
    make_cookie,
    xaead_open,
    xaead_seal,
)
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.messages import CookieReply, Initiation, Response, parse

h = bytes.fromhex


def kat(name: str) -> bytes:
    return hashlib.blake2s(f"wgbpf kat {name}".encode()).digest()


# --- primitives ---------------------------------------------------------------------------------------


def test_blake2s_of_abc_rfc7693_appendix_b() -> None:
    assert hash_(b"abc") == h("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")


def test_blake2s_self_test_rfc7693_appendix_e() -> None:
    """The RFC's own check: a hash over hashes of all lengths, keyed and not."""

    def sequence(length: int, seed: int) -> bytes:
        a, b = (0xDEAD4BAD * seed) & 0xFFFFFFFF, 1
        out = bytearray()
        for _ in range(length):
            t = (a + b) & 0xFFFFFFFF
            a, b = b, t
            out.append(t >> 24)
        return bytes(out)

    total = hashlib.blake2s()
    for out_length in (16, 20, 28, 32):
        for in_length in (0, 3, 64, 65, 255, 1024):
            data, key = sequence(in_length, in_length), sequence(out_length, out_length)
            total.update(hashlib.blake2s(data, digest_size=out_length).digest())
            total.update(hashlib.blake2s(data, key=key, digest_size=out_length).digest())
            if out_length == 16:
                assert mac(key, data) == hashlib.blake2s(data, key=key, digest_size=16).digest()
    assert total.digest() == h("6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe")


def test_chacha20_poly1305_rfc8439_2_8_2() -> None:
    # The RFC's nonce begins with 07000000, which WireGuard's never does: the same primitive underneath.
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = ChaCha20Poly1305(bytes(range(0x80, 0xA0))).encrypt(
        h("070000004041424344454647"), plain, h("50515253c0c1c2c3c4c5c6c7")
    )
    assert sealed[-16:] == h("1ae10b594f09e26a7e902ecbd0600691")
    assert sealed[:16] == h("d31a8d34648e60db7b86afbc53ef7ec2")


def test_the_counter_is_the_last_eight_bytes_of_the_nonce_little_endian() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key = bytes(range(32))
    direct = ChaCha20Poly1305(key).encrypt(h("000000000807060504030201"), b"x", None)
    assert Aead(key).seal(0x0102030405060708, b"x") == direct


def test_hchacha20_draft_irtf_cfrg_xchacha_2_2_1() -> None:
    key = bytes(range(32))
    assert hchacha20(key, h("000000090000004a0000000031415927")) == h(
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    )


def test_xchacha20_poly1305_draft_appendix_a_3_1() -> None:
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    key, nonce, ad = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), h("50515253c0c1c2c3c4c5c6c7")
    sealed = xaead_seal(key, nonce, plain, ad)
    assert sealed[:16] == h("bd6d179d3e83d43b9576579493c0e939")
    assert sealed[-16:] == h("c0875924c1c7987947deafd8780acf49")
    assert xaead_open(key, nonce, sealed, ad) == plain
    with pytest.raises(OpenError):
        xaead_open(key, nonce, sealed[:-1] + bytes([sealed[-1] ^ 1]), ad)


def test_x25519_rfc7748_5_2_and_low_order_points() -> None:
    scalar = h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert PrivateKey(scalar).dh(point) == h(
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    )
    for low_order in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(OpenError):
            PrivateKey(scalar).dh(low_order)


def test_tai64n_of_the_epoch_and_the_step_of_2_to_the_24_ns() -> None:
    assert tai64n.stamp(0) == h("400000000000000a00000000")
    assert tai64n.stamp(1_700_000_000 * 10**9 + 2**24 + 5) == h("400000006553f10a01000000")
    for ns in (0, 1, 2**24 - 1, 2**24, 999_999_999, 1_234_567_890_123_456_789):
        previous = tai64n.stamp(ns)
        following = tai64n.next_after(previous)
        assert tai64n.stamp(following) > previous
        assert tai64n.stamp(following - 1) == previous


# --- the Noise layer ----------------------------------------------------------------------------------


def test_noise_ikpsk2_cacophony_vector() -> None:
    """The published vector, with its own prologue and payloads, on the Symmetric state of the core."""
    psk = b"This is my Austrian perspective!"
    init_s = PrivateKey(h("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"))
    init_e = PrivateKey(h("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"))
    resp_s = PrivateKey(h("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"))
    resp_e = PrivateKey(h("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"))
    assert resp_s.public == h("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62")
    s = noise.Symmetric(noise.INITIAL_CHAINING_KEY, hash_(noise.INITIAL_CHAINING_KEY, b"John Galt"))
    s.mix_hash(resp_s.public)
    s.mix_ephemeral(init_e.public)
    static = s.seal(s.mix_key(init_e.dh(resp_s.public)), init_s.public)
    payload = s.seal(s.mix_key(init_s.dh(resp_s.public)), b"Ludwig von Mises")
    assert init_e.public + static + payload == h(
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad57527207feb56253"
        "c9c94a9e496782ecfcb2a75fbcaf1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985464cf17e"
        "51ee93109008399a21f7e13f"
    )
    s.mix_ephemeral(resp_e.public)
    s.mix_key(resp_e.dh(init_e.public))
    s.mix_key(resp_e.dh(init_s.public))
    payload = s.seal(s.mix_psk(psk), b"Murray Rothbard")
    assert resp_e.public + payload == h(
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843cb765f2caef0751b8f007572dab0322217755c"
        "0632f365717edbf34d33e87a"
    )
    assert s.hash == h("f5191b875290abcd41347ac3622d9679688a7e980229cb937ef748336cfde0e5")
    first, second = s.split()
    assert Aead(bytes(first)).seal(0, b"F. A. Hayek") == h(
        "8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7"
    )
    assert Aead(bytes(second)).seal(0, b"Carl Menger") == h(
        "07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef"
    )


def test_kdf_is_hkdf_of_rfc5869_over_blake2s() -> None:
    from cryptography.hazmat.primitives.hashes import BLAKE2s
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    expected = HKDF(BLAKE2s(32), 96, salt=b"c" * 32, info=b"").derive(b"input")
    assert b"".join(kdf(3, b"c" * 32, b"input")) == expected


# --- a whole handshake --------------------------------------------------------------------------------

INITIATION = h(
    "010000004433221101421b1dfb543abd9cf0671a97d6f7fb0b90e63f729b4fc0c212e9b06175264528aacc8c88980b31693354f7"
    "ab89b970e6a0028b44684b379d2d414c8f34dd9399ff0e3249d1f0de5d82e0bc3b02cf54d6425f29fabb003ade7c9f7ccbcceec7"
    "62974d2d7e70d616729c71e56e5a32b1423a1ef17fbc51891f74a37300000000000000000000000000000000"
)
RESPONSE = h(
    "020000008877665544332211412e0dd135d2a7f160ea12b25e491ffc58d9795dcb8c97bd59330bbf2c32ee355d7331841271d339"
    "fcc368d48c0bbafdf123d5560f119ba091eb640744987d6300000000000000000000000000000000"
)
COOKIE_MESSAGE = h(
    "0300000044332211000102030405060708090a0b0c0d0e0f10111213141516177053bdfb4e3caa84880aa5d611685bb500e07532"
    "5e9fd80b73fc9a133eaf02ba"
)
KEEPALIVE = h("04000000887766550000000000000000f1feb9e013aa9191f10993da311fe886")
SOURCE = Endpoint(IPv4Address("192.0.2.1"), 51820)

ME, THEM = PrivateKey(kat("Si")), PrivateKey(kat("Sr"))


def test_initial_hashes() -> None:
    assert h("60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36") == noise.INITIAL_CHAINING_KEY
    assert h("2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3") == noise.INITIAL_HASH


def _initiate() -> tuple[Initiation, noise.PendingInitiation]:
    stamp = tai64n.stamp(1_700_000_000 * 10**9)
    return noise.create_initiation(
        ME, THEM.public, ME.dh(THEM.public), 0x11223344, PrivateKey(kat("Ei")), stamp
    )


def test_initiation_response_and_transport_keys_of_both_sides() -> None:
    assert ME.public == h("40ec747604c0d4b0c1b3c4c9a2253d34dd327d8943841cb47d81ee505c2db050")
    message, pending = _initiate()
    assert CookieMaker(THEM.public).stamp(message.pack(), 0) == INITIATION
    parsed = parse(INITIATION)
    assert isinstance(parsed, Initiation)
    consumed = noise.consume_initiation(THEM, parsed)
    assert consumed.peer_static == ME.public
    response, theirs = noise.create_response(consumed, Secret(kat("Q")), 0x55667788, PrivateKey(kat("Er")))
    assert CookieMaker(ME.public).stamp(response.pack(), 0) == RESPONSE
    parsed_response = parse(RESPONSE)
    assert isinstance(parsed_response, Response)
    ours = noise.consume_response(ME, pending, Secret(kat("Q")), parsed_response)
    t1 = h("5e78e830ae050d26eb1612719f62fd9b26f5c11ec43d073197a5f2451e9c9758")
    t2 = h("85ffb031e00a4410693ad09e71a9e91c9a3049ec895151a67b716c877ab171f0")
    assert (bytes(ours.send), bytes(ours.receive)) == (t1, t2)
    assert (bytes(theirs.send), bytes(theirs.receive)) == (t2, t1)
    assert Keypair(ours, 0).seal(b"", 1420) == KEEPALIVE


def test_cookie_mac2_and_cookie_message() -> None:
    secret = kat("R")
    assert make_cookie(secret, SOURCE.raw()) == h("9b81e3b3e8a9a0e76a05120ba9e7ae02")

    def rand(count: int) -> bytes:
        return secret if count == 32 else bytes(range(count))

    checker = CookieChecker(THEM.public, rand)
    assert checker.check_mac1(INITIATION)
    reply = checker.reply(INITIATION, 0x11223344, SOURCE.raw(), 0)
    assert reply.pack() == COOKIE_MESSAGE
    maker = CookieMaker(THEM.public)
    body = _initiate()[0].pack()
    maker.stamp(body, 0)
    parsed = parse(COOKIE_MESSAGE)
    assert isinstance(parsed, CookieReply)
    maker.consume(parsed, 0)
    stamped = maker.stamp(body, 1)
    assert stamped[-16:] == h("8bfd068401cef8d7c12905c5ec78e05f")
    assert checker.check_mac2(stamped, SOURCE.raw(), 1)


def test_private_keys_are_clamped() -> None:
    assert clamp(b"\xff" * 32) == b"\xf8" + b"\xff" * 30 + b"\x7f"
    assert PrivateKey(b"\xff" * 32).public == PrivateKey(clamp(b"\xff" * 32)).public
