"""Signatures: the standard's own vectors, keys that are refused, and what a signature finds that nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from signed_runs import LONG, META, SHORT, Signed, change_json, reseal
from typer.testing import CliRunner

from assay.base.errors import UsageError
from assay.cli import app
from assay.runs import artifacts as layout
from assay.runs import signing, verify
from assay.runs.ledger import read_ledger

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
            "5141438e7a100b"
        ),
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
            "0d291612bb0c00"
        ),
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
            "27beceea1ec40a"
        ),
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a"
            "9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9"
            "bef1177331a704"
        ),
    ),
}


@pytest.mark.parametrize("name", RFC_8032)
def test_signatures_are_those_of_the_standard(name: str) -> None:
    secret, public, message, expected = RFC_8032[name]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == public
    made = signing.signer(key)(bytes.fromhex(message))
    assert made["value"] == expected
    check = signing.checker(key.public_key())
    assert check(bytes.fromhex(message), made) is None
    assert "does not fit" in str(check(bytes.fromhex(message) + b"x", made))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    public, _ = signing.new_pair(tmp_path / "key")
    return tmp_path / "key", public


def test_a_private_key_is_its_owners_alone(pair: tuple[Path, Path]) -> None:
    private, public = pair
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" in private.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()


def test_keys_are_not_overwritten(pair: tuple[Path, Path]) -> None:
    private, public = pair
    before = private.read_bytes()
    with pytest.raises(UsageError, match="there already"):
        signing.new_pair(private)
    private.unlink()
    with pytest.raises(UsageError, match="there already"):
        signing.new_pair(private)
    assert not private.exists()
    private.symlink_to("nowhere")
    public.unlink()
    with pytest.raises(UsageError, match="there already"):
        signing.new_pair(private)
    assert before


@pytest.mark.skipif(subprocess.run(["which", "openssl"], capture_output=True).returncode != 0, reason="no openssl")
def test_the_fingerprint_is_what_openssl_says(pair: tuple[Path, Path]) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", pair[1], "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert verify.sha256(der) == signing.fingerprint(signing.public_key(pair[1]))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o610, 0o601])
def test_a_key_that_others_may_touch_is_refused(pair: tuple[Path, Path], mode: int) -> None:
    pair[0].chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}"):
        signing.from_environment({signing.VARIABLE: str(pair[0])})


def test_no_key_is_no_signature() -> None:
    assert signing.from_environment({}) is None
    assert signing.from_environment({signing.VARIABLE: ""}) is None


def pems() -> dict[str, bytes]:
    other = generate_private_key(SECP256R1())
    own = Ed25519PrivateKey.generate()
    plain = NoEncryption()
    return {
        "another kind": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain),
        "encrypted": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")),
        "public": own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "nothing": b"",
        "noise": b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    }


@pytest.mark.parametrize("kind", ["another kind", "encrypted", "public", "nothing", "noise"])
def test_what_is_no_signing_key_is_refused_without_quoting_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(pems()[kind])
    path.chmod(0o600)
    with pytest.raises(UsageError, match="not an Ed25519 private key") as caught:
        signing.from_environment({signing.VARIABLE: str(path)})
    assert caught.value.__cause__ is None
    assert "c2VjcmV0" not in str(caught.value)
    assert str(path) not in str(caught.value)


def test_a_key_in_the_variable_itself_is_refused_and_not_repeated(pair: tuple[Path, Path]) -> None:
    secret = pair[0].read_text()
    with pytest.raises(UsageError, match="cannot be read") as caught:
        signing.from_environment({signing.VARIABLE: secret})
    assert "BEGIN" not in str(caught.value)
    assert secret.splitlines()[1] not in str(caught.value.as_dict())


def test_a_pipe_is_no_key_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UsageError, match="not a regular file"):
        signing.from_environment({signing.VARIABLE: str(tmp_path / "pipe")})


@pytest.mark.parametrize("kind", ["another kind", "nothing"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "key").write_bytes(pems()[kind])
    with pytest.raises(UsageError, match="no public key"):
        signing.public_key(tmp_path / "key")


def test_a_private_key_verifies_nothing(pair: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no public key"):
        signing.public_key(pair[0])


def test_a_public_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "key").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError, match="not of the kind"):
        signing.public_key(tmp_path / "key")


def test_without_the_package_it_is_said_what_to_install(pair: tuple[Path, Path], monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for work in (
        lambda: signing.from_environment({signing.VARIABLE: str(pair[0])}),
        lambda: signing.public_key(pair[1]),
        lambda: signing.new_pair(pair[0].with_name("other")),
    ):
        with pytest.raises(UsageError, match=r"assay-portfolio\[sign\]"):
            work()


# --- runs -------------------------------------------------------------------------------------------------------------


def check_of(public: Path) -> verify.SignatureCheck:
    return signing.checker(signing.public_key(public))


def codes(run: Path, public: Path, **more: object) -> list[str]:
    return [one.code for one in verify.verify(run, check_signature=check_of(public), **more).problems]


@pytest.mark.parametrize("name", [LONG, SHORT, META])
def test_workers_and_portfolios_sign(signed: Signed, name: str) -> None:
    verdict = verify.verify(signed.runs[name], check_signature=check_of(signed.public))
    assert verdict.ok, verdict.problems
    assert verdict.signed_by == signing.fingerprint(signing.public_key(signed.public))


def test_the_key_is_nowhere_in_the_home(signed: Signed) -> None:
    """Neither the key in any spelling, nor the path that the environment named."""
    key = signing._private_key(signed.private.read_bytes())
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    pem = b"".join(signed.private.read_bytes().splitlines()[1:-1])
    planted = [raw, raw.hex().encode(), pem, str(signed.private).encode(), signing.VARIABLE.encode()]
    searched = 0
    for path in signed.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            searched += 1
            assert not [one for one in planted if one in data], path
    assert searched > 60


def test_another_key_a_missing_signature_and_a_forged_one_are_found(signed: Signed, tmp_path: Path) -> None:
    other, _ = signing.new_pair(tmp_path / "other")
    assert codes(signed.runs[LONG], other) == ["SIGNATURE"]
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[META]
    assert codes(run, signed.public) == []
    reseal(twin.home, run)
    assert verify.verify(run).ok
    assert codes(run, signed.public) == ["SIGNATURE_MISSING"]
    forger = signing.signer(Ed25519PrivateKey.generate())
    reseal(twin.home, run, forger)
    assert verify.verify(run).ok
    assert codes(run, signed.public) == ["SIGNATURE"]
    # The forger names the true key: the value does not fit.
    known = signing.fingerprint(signing.public_key(signed.public))
    reseal(twin.home, run, lambda message: {**forger(message), "key": known})
    assert codes(run, signed.public) == ["SIGNATURE"]


def test_a_full_rewrite_is_found_by_a_signature_or_a_noted_head_and_by_nothing_else(
    signed: Signed, tmp_path: Path
) -> None:
    """Weights, ledger, seal and registry rewritten to agree: the limit of what can be known from inside."""
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[META]
    noted = verify.verify(run).head
    true = read_ledger(run / layout.LEDGER)[-1].body["signature"]

    def better(flattened):
        flattened["profiles"]["hrp"]["assets"][0]["Net_Weight"] *= 1.01

    change_json(run / layout.FLATTENED, better)
    assert [one.code for one in verify.verify(run).problems] == ["FILE_CHANGED"]
    head = reseal(twin.home, run)
    assert verify.verify(run).ok
    assert head != noted
    assert [one.code for one in verify.verify(run, head=noted).problems] == ["NOTED_HEAD"]
    assert codes(run, signed.public) == ["SIGNATURE_MISSING"]
    reseal(twin.home, run, lambda message: true)  # the old signature under the new seal
    assert verify.verify(run).ok
    assert codes(run, signed.public) == ["SIGNATURE"]


def test_a_signature_of_another_run_does_not_fit(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    theirs = read_ledger(twin.runs[LONG] / layout.LEDGER)[-1].body["signature"]
    reseal(twin.home, twin.runs[META], lambda message: theirs)
    assert codes(twin.runs[META], signed.public) == ["SIGNATURE"]


def test_the_file_that_an_auditor_copies_hands_the_signature_to_openssl(signed: Signed, tmp_path: Path) -> None:
    script = tmp_path / "verify.py"
    script.write_bytes(Path(verify.__file__).read_bytes())
    command = [sys.executable, "-I", "-S", script, signed.runs[META], "--signed", tmp_path / "out"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    message, value = (tmp_path / "out" / "message").read_bytes(), (tmp_path / "out" / "signature").read_bytes()
    signing.public_key(signed.public).verify(value, message)
    if subprocess.run(["which", "openssl"], capture_output=True).returncode == 0:
        check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", signed.public, "-rawin"]
        done = subprocess.run(
            [*check, "-in", tmp_path / "out" / "message", "-sigfile", tmp_path / "out" / "signature"],
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr


# --- the commands -----------------------------------------------------------------------------------------------------


def call(*arguments: object, environment: dict[str, str] | None = None):
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


def test_keys_new_and_show(tmp_path: Path) -> None:
    made = call("keys", "new", tmp_path / "key", "--json")
    assert made.exit_code == 0
    told = json.loads(made.stdout)
    shown = call("keys", "show", told["public"])
    assert shown.stdout.strip() == told["fingerprint"]
    assert call("keys", "new", tmp_path / "key").exit_code == 2
    assert call("keys", "show", tmp_path / "key").exit_code == 2


def test_verify_exits_with_3_for_every_wrong_signature(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[META]
    ask = ("verify", run.name, "--home", twin.home)
    good = call(*ask, "--public-key", signed.public)
    assert good.exit_code == 0
    assert "checked" in good.stdout
    assert "not checked" in call(*ask).stdout
    other, _ = signing.new_pair(tmp_path / "other")
    wrong = call(*ask, "--public-key", other, "--json")
    assert wrong.exit_code == 3
    assert json.loads(wrong.stdout)["problems"][0]["code"] == "SIGNATURE"
    reseal(twin.home, run)
    assert call(*ask).exit_code == 0
    assert call(*ask, "--public-key", signed.public).exit_code == 3
    assert call(*ask, "--public-key", tmp_path / "none").exit_code == 2


def test_a_run_whose_key_cannot_be_used_ends_before_it_works(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    done = call(
        *("run", LONG, "--home", tmp_path / "home", "--run-id", "unsigned", "--workers", "1"),
        environment={signing.VARIABLE: str(tmp_path / "key")},
    )
    assert done.exit_code == 2
    folder = tmp_path / "home" / "runs" / "unsigned"
    assert not (folder / "data").exists()
    status = json.loads((folder / layout.STATUS).read_bytes())
    assert status["error"]["where"] == signing.VARIABLE
