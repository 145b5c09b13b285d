"""Signs what proves who we are with a private key (RFC 7519, RS256)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from updater.secrets import SecretError, remember


def signed(claims: Mapping[str, object], pem: str, named: str, header: Mapping[str, str] | None = None) -> str:
    """Return a token with these claims, blanked in every text until somebody forgets it.

    `pem` is a private RSA key without a passphrase, and `named` says where it came from. Raises SecretError.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, RSAPrivateKey):
        raise SecretError(f"{named} is no private RSA key in PEM without a passphrase")
    text = f"{_part({'alg': 'RS256', 'typ': 'JWT'} | dict(header or {}))}.{_part(claims)}"
    token = f"{text}.{_encoded(private.sign(text.encode(), PKCS1v15(), SHA256()))}"
    remember(token)
    return token


def _part(value: Mapping[str, object]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
