"""Who the stock clients act for: an account for each client and kind of key, all holding the same."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

HOLDINGS: Final = """
UM = { USDT = "12345678901.12345679", BTC = "0.00000001", ETH = "-2.5", BNB = "2.5" }
CM = { BTC = "0.12345678", ETH = "1.25", BNB = "0.75" }

[account.MARGIN]
USDT = { free = "1000.1", locked = "10", borrowed = "5", interest = "0.5" }
"""

Row = tuple[str, str, str, str, str]
"""Of one asset: UM, CM, Cross Margin free and locked, and the total, as texts on the wire."""

AT_FIRST: Final[dict[str, Row]] = {
    "BNB": ("2.5", "0.75", "0.0", "0.0", "3.25"),
    "BTC": ("0.00000001", "0.12345678", "0.0", "0.0", "0.12345679"),
    "ETH": ("-2.5", "1.25", "0.0", "0.0", "-1.25"),
    "USDT": ("12345678901.12345679", "0.0", "1000.1", "10.0", "12345679911.22345679"),
}
WITHOUT_A_TENTH_BTC: Final = {**AT_FIRST, "BTC": ("0.00000001", "0.02345678", "0.1", "0.0", "0.12345679")}
WITHOUT_THE_SMALLEST_UNIT: Final = {**AT_FIRST, "BTC": ("0.0", "0.02345678", "0.10000001", "0.0", "0.12345679")}
WITHOUT_USDT: Final = {
    **WITHOUT_THE_SMALLEST_UNIT,
    "USDT": ("0.0", "0.0", "12345679901.22345679", "10.0", "12345679911.22345679"),
}
COLLECTED: Final[dict[str, Row]] = {
    "BNB": ("2.5", "0.0", "0.75", "0.0", "3.25"),  # BNB in UM stays
    "BTC": ("0.0", "0.0", "0.12345679", "0.0", "0.12345679"),
    "ETH": ("-2.5", "0.0", "1.25", "0.0", "-1.25"),  # a negative balance stays and is not repaid
    "USDT": ("0.0", "0.0", "12345679901.22345679", "10.0", "12345679911.22345679"),
}
FIELDS: Final = ("umWalletBalance", "cmWalletBalance", "crossMarginFree", "crossMarginLocked", "totalWalletBalance")

UM_TRANSFERS: Final = [("BTC", "-0.00000001"), ("USDT", "-12345678901.12345679")]
CM_TRANSFERS: Final = {("BTC", "-0.10000000"), ("BTC", "-0.02345678"), ("ETH", "-1.25000000"), ("BNB", "-0.75000000")}
"""What the steps above leave in the income histories; the last collection moves several assets at once."""


class Kind(StrEnum):
    """The kinds of keys that clients sign with."""

    HMAC = "hmac"
    RSA = "rsa"
    ED25519 = "ed25519"


class Credentials(msgspec.Struct, frozen=True):
    """What a user hands to a client: the API key, and an HMAC secret or the PEM of a private key."""

    api_key: str
    kind: Kind
    secret: str


class Ring:
    """One private key of each kind, made anew for each run, and the credentials made of them."""

    def __init__(self) -> None:
        self._private: dict[Kind, RSAPrivateKey | Ed25519PrivateKey] = {
            Kind.RSA: generate_private_key(65_537, 2_048),
            Kind.ED25519: Ed25519PrivateKey.generate(),
        }

    def credentials(self, who: str, kind: Kind = Kind.HMAC) -> Credentials:
        """The API key is the account's name."""
        if kind is Kind.HMAC:
            return Credentials(who, kind, f"{who}-secret")
        pem = self._private[kind].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Credentials(who, kind, pem.decode())

    def account(self, who: str, kind: Kind = Kind.HMAC, permissions: str = '"READ", "TRADE"') -> str:
        """An account of a scenario, as TOML."""
        return f"""
[[account]]
name = "{who}"
key = [{{ api_key = "{who}", {self._half(who, kind)}, permissions = [{permissions}] }}]
{HOLDINGS}"""

    def _half(self, who: str, kind: Kind) -> str:
        """What the venue knows of the key."""
        if kind is Kind.HMAC:
            return f'secret = "{who}-secret"'
        public = self._private[kind].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return f'public_key = "{public.decode()}"'.replace("\n", "\\n")
