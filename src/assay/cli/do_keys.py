"""``assay keys``: pairs of keys that sign seals."""

from __future__ import annotations

from pathlib import Path

from assay.cli import do_output as output
from assay.runs import signing


def new(path: Path, as_json: bool) -> None:
    """Make a pair and print where it is, its fingerprint, and how it is used."""
    public, known = signing.new_pair(path)
    if as_json:
        output.as_json({"private": str(path), "public": str(public), "fingerprint": known})
        return
    output.line(f"private key: {path} (keep it; {signing.VARIABLE}={path} signs every seal)")
    output.line(f"public key:  {public} (give it away; assay verify RUN --public-key {public})")
    output.line(f"fingerprint: {known}")


def show(path: Path, as_json: bool) -> None:
    """Print the fingerprint of a public key."""
    known = signing.fingerprint(signing.public_key(path))
    if as_json:
        output.as_json({"public": str(path), "fingerprint": known})
    else:
        output.line(known)
