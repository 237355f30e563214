"""Signatures: public vectors, what is refused, the three algorithms, and both edges of the receive window."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from catchment.errors import Rejection
from catchment.signature import (
    Algorithm,
    Verifier,
    hmac_verifier,
    make_token,
    public_key_verifier,
    refuse_window,
    sign_hmac,
)

# The USDT-margined futures page, and the spot page: all in the query, and split between query and body.
FUTURES_SECRET = b"2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
FUTURES_PAYLOAD = (
    b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SPOT_SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SPOT_QUERY = b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
SPOT_BODY = b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
VECTORS = [
    (FUTURES_SECRET, FUTURES_PAYLOAD, "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"),
    (
        SPOT_SECRET,
        SPOT_QUERY + b"&" + SPOT_BODY,
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    (SPOT_SECRET, SPOT_QUERY + SPOT_BODY, "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"),
]


@pytest.mark.parametrize(("secret", "payload", "signature"), VECTORS)
def test_public_vectors(secret: bytes, payload: bytes, signature: str) -> None:
    assert sign_hmac(secret, payload) == signature
    verify = hmac_verifier(secret)
    assert verify(payload, signature.encode())
    assert verify(payload, signature.upper().encode()), "hex is compared without regard to case"
    assert not verify(payload + b" ", signature.encode())
    assert not hmac_verifier(secret + b"0")(payload, signature.encode())


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"3c66",
        b"3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af",
        b"3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af90",
        b"3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9" * 2,
        b"4c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        b"zc661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        b" c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        b"0x61234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af99",
        b"\xff" * 64,
        b"\x00" * 64,
    ],
)
def test_a_broken_hex_is_refused(broken: bytes) -> None:
    assert not hmac_verifier(FUTURES_SECRET)(FUTURES_PAYLOAD, broken)


def test_one_verifier_serves_many_payloads() -> None:
    """The keyed state is copied: a payload leaves nothing behind for the next one."""
    verify = hmac_verifier(SPOT_SECRET)
    for payload in (b"", b"a", SPOT_QUERY, b"a", b""):
        assert verify(payload, sign_hmac(SPOT_SECRET, payload).encode())


def pem(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
PAYLOAD = b"timestamp=1499827319559&signature-is-not-here=1"


def made(key: bytes) -> tuple[Algorithm, Verifier]:
    found = public_key_verifier(key)
    assert not isinstance(found, Rejection)
    return found


def test_rsa() -> None:
    algorithm, verify = made(pem(RSA_KEY.public_key()))
    signature = RSA_KEY.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA256())
    assert algorithm is Algorithm.RSA
    assert verify(PAYLOAD, base64.b64encode(signature))
    assert not verify(PAYLOAD + b"x", base64.b64encode(signature))
    assert not verify(PAYLOAD, base64.b64encode(signature[:-1]))
    assert not verify(PAYLOAD, base64.b64encode(RSA_KEY.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA512())))


def test_ed25519() -> None:
    algorithm, verify = made(pem(ED25519_KEY.public_key()))
    signature = ED25519_KEY.sign(PAYLOAD)
    assert algorithm is Algorithm.ED25519
    assert verify(PAYLOAD, base64.b64encode(signature))
    assert not verify(PAYLOAD + b"x", base64.b64encode(signature))
    assert not verify(PAYLOAD, base64.b64encode(signature[:-1]))
    assert not verify(PAYLOAD, base64.b64encode(bytes(64)))


@pytest.mark.parametrize("key", [pem(RSA_KEY.public_key()), pem(ED25519_KEY.public_key())], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("broken", [b"", b"=", b"A", b"AAAA=", b"AA AA", b"AAAA\n", b"-_-_", b"\xff\xfe", b"AAAA"])
def test_what_is_no_base64_or_too_short_is_refused(key: bytes, broken: bytes) -> None:
    _, verify = made(key)
    assert not verify(PAYLOAD, broken)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"text",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(RSA_KEY.public_key())[:100],
        pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
        ED25519_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ],
    ids=["empty", "text", "not a key", "truncated", "another curve", "a private key"],
)
def test_other_keys_are_refused(key: bytes) -> None:
    refused = public_key_verifier(key)
    assert isinstance(refused, Rejection)
    assert (refused.name, refused.code) == ("INVALID_RSA_PUBLIC_KEY", -4057)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_verifier_never_raises(payload: bytes, signature: bytes) -> None:
    _, rsa_verify = made(pem(RSA_KEY.public_key()))
    _, ed25519_verify = made(pem(ED25519_KEY.public_key()))
    assert not any(verify(payload, signature) for verify in (hmac_verifier(b"secret"), rsa_verify, ed25519_verify))


# timestamp - now | recvWindow | answer
WINDOW = """
0                 | 5000       | accepted
999               | 5000       | accepted
1000              | 5000       | INVALID_TIMESTAMP ahead
1001              | 5000       | INVALID_TIMESTAMP ahead
-5000             | 5000       | accepted
-5001             | 5000       | INVALID_TIMESTAMP outside
-60000            | 60000      | accepted
-60001            | 60000      | INVALID_TIMESTAMP outside
0                 | 60000      | accepted
0                 | 60001      | BAD_RECV_WINDOW
5000              | 60001      | BAD_RECV_WINDOW
0                 | 0          | accepted
-1                | 0          | INVALID_TIMESTAMP outside
999               | 0          | accepted
0                 | -1         | INVALID_TIMESTAMP outside
-1790000000000    | 60000      | INVALID_TIMESTAMP outside
"""


@pytest.mark.parametrize("line", WINDOW.strip().splitlines())
def test_the_receive_window(line: str) -> None:
    ahead, recv_window, outcome = (cell.strip() for cell in line.split("|"))
    now = 1_790_000_000_000
    refused = refuse_window(now + int(ahead), int(recv_window), now)
    name, _, word = outcome.partition(" ")
    assert ("accepted" if refused is None else refused.name) == name
    assert refused is None or word in refused.sentence


def test_a_token_is_64_letters_and_digits_and_never_the_same() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 64 and token.isascii() and token.isalnum() for token in tokens)
