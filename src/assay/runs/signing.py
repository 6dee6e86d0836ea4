"""Ed25519 signatures of seals, through the package ``cryptography`` (extra ``sign``).

``ASSAY_SIGNING_KEY`` names a file that holds a private key as PEM (PKCS #8, not encrypted), which nobody but its owner
may read. The variable holds a path and never the key: what stands in an environment is inherited by every child
process. Neither the key nor the variable's value is written anywhere, not into the texts of errors either.

A seal then holds ``{"algorithm": "ed25519", "key": fingerprint, "value": signature}``. The *fingerprint* is the SHA-256
of the public key as DER, which ``openssl pkey -pubin -in FILE -outform DER | sha256sum`` prints too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.base.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Signer = Callable[[bytes], Mapping[str, str]]
Check = Callable[[bytes, Mapping[str, Any]], str | None]

VARIABLE = "ASSAY_SIGNING_KEY"
ALGORITHM = "ed25519"
MAX_BYTES = 16_384
"""No PEM of an Ed25519 key is longer; a larger file is not one."""


def from_environment(environment: Mapping[str, str] | None = None) -> Signer | None:
    """Return what signs seals, or None where no key is named.

    Parameters
    ----------
    environment : mapping, optional
        Of this process by default.

    Raises
    ------
    UsageError
        If the key cannot be used: no such file, readable by others, no Ed25519 private key, or no ``cryptography``.
    """
    named = (os.environ if environment is None else environment).get(VARIABLE)
    return signer(_private_key(_read_secret(named))) if named else None


def signer(key: Ed25519PrivateKey) -> Signer:
    """Return a function that signs with a private key."""
    known = fingerprint(key.public_key())

    def sign(message: bytes) -> Mapping[str, str]:
        return {"algorithm": ALGORITHM, "key": known, "value": key.sign(message).hex()}

    return sign


def checker(key: Ed25519PublicKey) -> Check:
    """Return a function for :func:`assay.runs.verify.verify`: it says what is wrong with a signature, or None."""
    from cryptography.exceptions import InvalidSignature

    known = fingerprint(key)

    def check(message: bytes, signature: Mapping[str, Any]) -> str | None:
        if signature.get("algorithm") != ALGORITHM or set(signature) != {"algorithm", "key", "value"}:
            return "the seal's signature is not of the kind that this key makes"
        if signature["key"] != known:
            return f"the seal names the key {str(signature['key'])[:64]}, the key given is {known}"
        try:
            key.verify(bytes.fromhex(str(signature["value"])), message)
        except (InvalidSignature, ValueError):
            return f"the signature does not fit what the seal says, by the key {known}"
        return None

    return check


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the hex SHA-256 of a public key as DER (SubjectPublicKeyInfo)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key as PEM.

    Raises
    ------
    UsageError
        If the file cannot be read, or holds anything else; a private key is refused, for it has no business there.
    """
    _need_package()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    hint = "give the .pub file that assay keys new wrote"
    try:
        with path.open("rb") as stream:
            found = load_pem_public_key(stream.read(MAX_BYTES))
    except OSError as error:
        raise UsageError(f"public key cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    except (ValueError, UnsupportedAlgorithm):
        # Without the cause: its text may quote what is in the file.
        raise UsageError("this is no public key in PEM", where=str(path), hint=hint) from None
    if not isinstance(found, Ed25519PublicKey):
        raise UsageError("this public key is not of the kind Ed25519", where=str(path), hint=hint)
    return found


def new_pair(path: Path) -> tuple[Path, str]:
    """Make a pair: ``path`` for its owner alone (0600), ``path.pub`` for everybody; return that and its fingerprint.

    Raises
    ------
    UsageError
        If either file is there already.
    OSError
        If a file cannot be written.
    """
    _need_package()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = path.with_name(path.name + ".pub")
    for file in (public, path):
        if os.path.lexists(file):
            raise UsageError("a file is there already", where=str(file), hint="choose another name; keys are kept")
    key = Ed25519PrivateKey.generate()
    _create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _create(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return public, fingerprint(key.public_key())


def _create(path: Path, data: bytes, mode: int) -> None:
    # Exclusive, and closed to others from its first byte on.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)  # whatever the process's mask is
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


def _read_secret(named: str) -> bytes:
    hint = "name a file made by assay keys new"
    try:
        descriptor = os.open(named, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for ever
    except (OSError, ValueError):
        # Whoever puts the key itself into the variable must not find it in a log: its value is not repeated.
        raise UsageError("the signing key cannot be read", where=VARIABLE, hint=hint) from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("the signing key is not a regular file", where=VARIABLE, hint=hint)
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise UsageError(
                f"the signing key may be read or changed by others (mode {mode:04o})", where=VARIABLE, hint="chmod 600"
            )
        return stream.read(MAX_BYTES)


def _private_key(data: bytes) -> Ed25519PrivateKey:
    _need_package()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            "the signing key is not an Ed25519 private key in PEM, or is encrypted",
            where=VARIABLE,
            hint="make one with assay keys new",
        ) from None
    return key


def _need_package() -> None:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise UsageError(
            "signatures need the package cryptography",
            where=VARIABLE,
            hint="install it with: pip install 'assay-portfolio[sign]'",
        )
