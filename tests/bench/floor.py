"""The floor: what a careful person's script would do for the same commit, without the product. A process of its own.

It gets one JSON file: `modules` to import first, `registry` and `url`, `header` (git's login), `places` (file, image).
It lists the tags of each image with one httpx.Client, takes the greatest 1.x.y, clones, replaces the tag in each
file, commits and pushes with plain git. With `look` it reads manifest and configuration of the old and the new image
first, for their digests and platforms, as the product does before it writes.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

OLD = "1.0.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RELEASE = re.compile(r"1\.(\d+)\.(\d+)")


def main(plan_file: str) -> None:
    plan = json.loads(Path(plan_file).read_text())
    for module in plan["modules"]:
        importlib.import_module(module)
    newest = _newest(plan["registry"], [image for _, image in plan["places"]], look=plan["look"])
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        _git(plan, "clone", "-q", plan["url"], str(clone))
        for file, image in plan["places"]:
            path = clone / file
            path.write_bytes(path.read_bytes().replace(OLD.encode(), newest[image].encode()))
        _git(plan, "-C", str(clone), "commit", "-qam", f"Bump {len(newest)} images")
        _git(plan, "-C", str(clone), "push", "-q", "origin", "main")


def _newest(registry: str, images: list[str], *, look: bool) -> dict[str, str]:
    import httpx

    newest = {}
    with httpx.Client(base_url=registry, trust_env=False) as http:
        for image in images:
            listed = http.get(f"/v2/{image}/tags/list").raise_for_status().json()["tags"]
            releases = filter(None, map(RELEASE.fullmatch, listed))
            newest[image] = max(releases, key=lambda match: (int(match[1]), int(match[2])))[0]
            for tag in (OLD, newest[image]) if look else ():
                manifest = http.get(f"/v2/{image}/manifests/{tag}", headers={"Accept": MANIFEST}).raise_for_status()
                config = manifest.json()["config"]["digest"]
                http.get(f"/v2/{image}/blobs/{config}").raise_for_status().json()["os"]
    return newest


def _git(plan: dict[str, str], *args: str) -> None:
    variables = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": plan["header"],
        "GIT_CONFIG_KEY_1": "user.name",
        "GIT_CONFIG_VALUE_1": "Floor",
        "GIT_CONFIG_KEY_2": "user.email",
        "GIT_CONFIG_VALUE_2": "floor@localhost",
    }
    subprocess.run(["git", *args], check=True, env={**os.environ, **variables})


if __name__ == "__main__":
    main(sys.argv[1])
