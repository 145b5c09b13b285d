"""Signed commits: git itself says that the signature is good, and the key is nowhere before and after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.config import problems
from tests.lab.git import AT, AUTHOR, CLEAN, FILES, Room, git
from tests.lab.gpg import Keyring, agents, missing
from updater.config.load import load
from updater.daemon.build import clones
from updater.errors import GitError
from updater.git.clone import Clone
from updater.git.commit import Author
from updater.git.signing import Signing
from updater.secrets import SecretError, SecretRef

BUMP = {"apps/a.yaml": b"image: r/a:2\n"}
SUBJECT = "Update r/a to 2\n\nImage-Update: r/a 1 -> 2\n"

Calls = Callable[[], list[str]]


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    if absent := missing():
        pytest.skip(f"left out: OpenPGP needs {', '.join(absent)}")
    with Keyring() as ring:
        yield ring


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of this test alone for what must have a short name."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def ssh_key(folder: Path, passphrase: str = "", form: str = "OpenSSH") -> Path:
    """Make a key, and beside it the file that says whose signatures are good."""
    key = folder / "signing"
    kind = ("-t", "rsa", "-b", "2048", "-m", form) if form == "PEM" else ("-t", "ed25519")
    subprocess.run(
        ["ssh-keygen", "-q", *kind, "-N", passphrase, "-f", str(key)], check=True, env=CLEAN, capture_output=True
    )
    (folder / "allowed").write_text(f"{AUTHOR.email} {(folder / 'signing.pub').read_text()}")
    return key


def signed_by(room: Room, kind: str, key: Path) -> Clone:
    return Clone(room.folder / "clone", room.server.remote(room.name), signing=Signing(kind, reference(key)))  # type: ignore[arg-type]


def reference(path: Path) -> SecretRef:
    return SecretRef(f"file:{path}")


def cycle(clone: Clone, author: Author = AUTHOR) -> tuple[str, str]:
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, BUMP, SUBJECT, author, AT)
        clone.push(head.branch, head.revision, revision)
    return head.revision, revision


def nothing_left(folder: Path) -> bool:
    return sorted(path.name for path in (folder / "clone").iterdir()) == ["HEAD", "config", "objects", "refs"]


@pytest.mark.parametrize("form", ["OpenSSH", "PEM"])
def test_git_verifies_what_a_key_of_ssh_signed(room: Room, tmp_path: Path, form: str) -> None:
    bare, key = room.create(FILES), ssh_key(tmp_path, form=form)
    base, revision = cycle(signed_by(room, "ssh", key))
    git(bare, "-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", revision)
    assert git(bare, "rev-parse", "main", "main^") == f"{revision}\n{base}"
    assert git(bare, "log", "-1", "--format=%an %ae %cn %ce %at %ct%n%B") == (
        f"Image Updater updater@localhost Image Updater updater@localhost 1772600767 1772600767\n{SUBJECT}"
    )
    assert git(bare, "show", "main:apps/a.yaml") == "image: r/a:2"
    git(bare, "fsck", "--strict")
    assert nothing_left(tmp_path)


def test_a_signature_of_another_key_is_not_good(one: Room, tmp_path: Path) -> None:
    bare = one.create(FILES)
    (tmp_path / "other").mkdir()
    ssh_key(tmp_path / "other")
    _, revision = cycle(signed_by(one, "ssh", ssh_key(tmp_path)))
    with pytest.raises(RuntimeError, match=r"No principal matched|Could not verify"):
        git(bare, "-c", f"gpg.ssh.allowedSignersFile={tmp_path}/other/allowed", "verify-commit", revision)


def test_git_verifies_what_a_key_of_openpgp_signed(room: Room, tmp_path: Path, keyring: Keyring, short: Path) -> None:
    bare, fingerprint = room.create(FILES), keyring.key
    key = keyring.export(fingerprint, to=tmp_path / "key.asc")
    base, revision = cycle(signed_by(room, "gpg", key))
    assert keyring.signer(bare, revision) == fingerprint
    assert git(bare, "rev-parse", "main", "main^") == f"{revision}\n{base}"
    assert git(bare, "log", "-1", "--format=%B") == SUBJECT
    git(bare, "fsck", "--strict")
    assert nothing_left(tmp_path)
    assert agents(tmp_path, short) == []


def test_a_key_of_openpgp_signs_in_a_folder_whose_name_is_too_long_for_a_socket(
    one: Room, tmp_path: Path, keyring: Keyring, short: Path
) -> None:
    bare, fingerprint = one.create(FILES), keyring.key
    deep = Room(one.server, one.name, tmp_path / ("d" * 60) / ("e" * 60))
    deep.folder.mkdir(parents=True)
    _, revision = cycle(signed_by(deep, "gpg", keyring.export(fingerprint, to=tmp_path / "key.asc")))
    assert keyring.signer(bare, revision) == fingerprint
    assert agents(tmp_path, short) == []


def test_the_key_is_read_anew_for_each_commit(one: Room, tmp_path: Path) -> None:
    bare, key = one.create(FILES), ssh_key(tmp_path)
    clone = signed_by(one, "ssh", key)
    cycle(clone)
    for path in (key, key.with_suffix(".pub")):
        path.unlink()
    ssh_key(tmp_path)
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, {"apps/b.yaml": b"x\n"}, SUBJECT, AUTHOR, AT)
        again = clone.commit(revision, {"apps/b.yaml": b"y\n"}, SUBJECT, AUTHOR, AT)
        clone.push(head.branch, head.revision, again)
    for each in (revision, again):
        git(bare, "-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", each)


def test_many_packs_become_one_and_signed_commits_stay(
    one: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("updater.git.clone.MAX_PACKS", 3)
    bare, clone = one.create(FILES), signed_by(one, "ssh", ssh_key(tmp_path))
    with clone.lock():
        for n in range(9):
            head = clone.fetch("main")
            revision = clone.commit(head.revision, {"apps/a.yaml": b"%d\n" % n}, f"Update {n}\n", AUTHOR, AT)
            clone.push("main", head.revision, revision)
        assert len(clone.log(revision, limit=99)) == 10
    assert git(bare, "rev-list", "--count", "main") == "10"


@pytest.mark.parametrize(("signing", "extra"), [(False, []), (True, ["commit-tree"])], ids=["unsigned", "signed"])
def test_a_commit_that_nobody_signs_is_one_process(
    one: Room, tmp_path: Path, calls: Calls, *, signing: bool, extra: list[str]
) -> None:
    one.create(FILES)
    clone = signed_by(one, "ssh", ssh_key(tmp_path)) if signing else one.clone()
    with clone.lock():
        head = clone.fetch()
        clone.tree(head.revision)
        calls()
        clone.commit(head.revision, BUMP, SUBJECT, AUTHOR, AT)
    assert calls() == ["fast-import", *extra]


def public_half(folder: Path) -> Path:
    return ssh_key(folder).with_suffix(".pub")


def garbled(folder: Path) -> Path:
    key = ssh_key(folder)
    lines = key.read_text().splitlines()
    key.write_text("\n".join([lines[0], lines[1][::-1], *lines[2:]]))
    return key


BROKEN_SSH: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a passphrase": (lambda folder: ssh_key(folder, "hunter2hunter2"), "the key has a passphrase"),
    "a public key": (public_half, "not a private key as ssh-keygen makes it"),
    "garbage": (garbled, r"no commit can be signed: Load key .the key.: \w+"),
}


@pytest.mark.parametrize(("make", "words"), BROKEN_SSH.values(), ids=BROKEN_SSH)
def test_a_key_of_ssh_that_cannot_sign_is_said_and_not_shown(
    one: Room, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    one.create(FILES)
    refused(one, "ssh", make(tmp_path), words)


def test_a_key_of_openpgp_that_cannot_sign_is_said_and_not_shown(
    one: Room, tmp_path: Path, keyring: Keyring, short: Path
) -> None:
    one.create(FILES)
    locked = keyring.make("Locked <locked@localhost>", passphrase="hunter2hunter2")
    two = [keyring.make(f"Key {n} <{n}@localhost>") for n in range(2)]
    refused(one, "gpg", keyring.export(locked, to=tmp_path / "locked.asc", passphrase="hunter2hunter2"), "passphrase")
    refused(one, "gpg", keyring.export(*two, to=tmp_path / "two.asc"), "it holds 2 secret keys")
    refused(one, "gpg", keyring.public(two[0], tmp_path / "public.asc"), "not what gpg --export-secret-keys --armor")
    whole = keyring.export(two[0], to=tmp_path / "cut.asc").read_text().splitlines()
    (tmp_path / "cut.asc").write_text("\n".join([*whole[:3], *whole[5:]]))
    refused(one, "gpg", tmp_path / "cut.asc", "gpg finds no secret key in it")
    assert agents(tmp_path, short) == []


def refused(room: Room, kind: str, key: Path, words: str) -> None:
    """The commit is not made, its error says why, nothing of the key is in it, and the clone is no worse for it."""
    clone = signed_by(room, kind, key)
    with clone.lock():
        head = clone.fetch()
        with pytest.raises(GitError, match=words) as caught:
            clone.commit(head.revision, BUMP, SUBJECT, AUTHOR, AT)
    shown = str(caught.value)
    assert type(caught.value) is GitError
    assert shown.startswith(f"{room.name}: cannot ")
    assert not [line for line in key.read_text().splitlines() if len(line) > 16 and line in shown]
    assert nothing_left(room.folder)
    assert not clone.folder.with_name("clone.aside").exists()


def test_a_key_that_is_not_there_is_named(one: Room, tmp_path: Path) -> None:
    one.create(FILES)
    clone = signed_by(one, "ssh", tmp_path / "none")
    with clone.lock():
        head = clone.fetch()
        with pytest.raises(SecretError, match="none cannot be read"):
            clone.commit(head.revision, BUMP, SUBJECT, AUTHOR, AT)


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_machine_without_the_program_says_so(
    one: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, kind: str
) -> None:
    one.create(FILES)
    if kind == "gpg":
        ring: Keyring = request.getfixturevalue("keyring")
        key = ring.export(ring.key, to=tmp_path / "key.asc")
    else:
        key = ssh_key(tmp_path)
    clone = signed_by(one, kind, key)
    with clone.lock():
        head = clone.fetch()
        monkeypatch.setenv("PATH", str(only(tmp_path / "bin", "git", "env")))
        with pytest.raises(GitError, match=r"gpg cannot be started|ssh-keygen cannot be started"):
            clone.commit(head.revision, BUMP, SUBJECT, AUTHOR, AT)
    assert nothing_left(tmp_path)


def only(folder: Path, *programs: str) -> Path:
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found
        (folder / program).symlink_to(found)
    return folder


def test_no_key_in_argv_or_environment_while_git_signs(
    one: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.create(FILES)
    key, real = ssh_key(tmp_path), shutil.which("ssh-keygen")
    folder = tmp_path / "bin"
    folder.mkdir()
    spy = ("cat /proc/[0-9]*/cmdline /proc/self/environ > seen 2>/dev/null", "stat -c '%a' clone/login-* > modes")
    script = "\n".join(["#!/bin/sh", f"(cd {tmp_path}; {'; '.join(spy)})", f'exec {real} "$@"\n'])
    (folder / "ssh-keygen").write_text(script)
    (folder / "ssh-keygen").chmod(0o755)
    clone = signed_by(one, "ssh", key)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    cycle(clone)
    seen = (tmp_path / "seen").read_bytes()
    assert b"commit-tree" in seen
    assert not [line for line in key.read_text().splitlines()[1:-1] if line.encode() in seen]
    assert (tmp_path / "modes").read_text() == "700\n"


def test_the_configuration_says_who_signs(one: Room, tmp_path: Path) -> None:
    bare, key = one.create(FILES), ssh_key(tmp_path)
    (tmp_path / "password").write_text("s3cret-of-the-lab")
    file = tmp_path / "updater.yaml"
    file.write_text(
        f"data: data\nrepositories:\n  - url: {one.server.url(one.name)}\n"
        f"    credentials: {{kind: basic, username: ci, password: 'file:password'}}\n"
        f"    signing: {{kind: ssh, key: 'file:{key.name}'}}\nimages: []\n"
    )
    settings = load(file)
    (tmp_path / "data" / "clones").mkdir(parents=True)
    _, revision = cycle(clones(settings)(settings.repositories[0]))
    git(bare, "-c", f"gpg.ssh.allowedSignersFile={tmp_path}/allowed", "verify-commit", revision)


@pytest.mark.parametrize(
    ("signing", "where", "expected"),
    [
        ("{kind: x509, key: 'env:K'}", "signing.kind", "one of ssh, gpg"),
        ("{kind: ssh}", "signing.key", "`key`"),
        ("{kind: ssh, key: 'AAAAC3Nza'}", "signing.key", "env:NAME or file:/path"),
        ("{kind: ssh, key: 'env:K', format: x}", "signing.format", "one of key, kind"),
    ],
)
def test_mistakes_in_who_signs(tmp_path: Path, signing: str, where: str, expected: str) -> None:
    text = f"repositories: [{{url: https://git.example.com/fleet.git, signing: {signing}}}]\n"
    (found,) = problems(tmp_path, text)
    assert found.where == f"repositories[0].{where}"
    assert expected in found.expected
    assert "AAAAC3" not in str(found)
