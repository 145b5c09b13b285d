"""Which authorities are trusted: the system's, and a private one beside them."""

from __future__ import annotations

from pathlib import Path

import certifi

MAX_BYTES = 4 << 20  # of one file; the usual bundle has 230 kB
_SYSTEM = (  # Debian and Alpine, Red Hat, BSD
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)


def bundle(ca_file: Path) -> str:
    """Return the system's authorities and those of `ca_file` as one PEM text, for programs that take one file alone.

    Raises OSError or ValueError where the file cannot be read.
    """
    system = next((path for path in _SYSTEM if path.is_file()), Path(certifi.where()))
    return "\n".join(_text(path) for path in (system, ca_file))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return data.decode()
