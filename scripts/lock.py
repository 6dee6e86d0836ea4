"""Resolve the locked requirements: hashed, for every platform and Python of the project, without any index address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMON = [
    "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
    "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
]  # fmt: skip
BUILD = ["pyproject.toml", "--group", "build"]
PAGE = ["--extra", "page", "--extra", "sign"]
LIVE = ["--extra", "live"]
FILES = {
    "requirements-installer.txt": ["--group", "installer"],
    "requirements.txt": [*BUILD, *PAGE],
    "requirements-live.txt": [*BUILD, *PAGE, *LIVE],
    "requirements-ray.txt": [*BUILD, *PAGE, "--extra", "ray", "--extra", "s3"],
    "requirements-docs.txt": [*BUILD, "--extra", "page", "--group", "docs"],
    "requirements-engine.txt": [*BUILD, "--group", "engine"],
    "requirements-scaling.txt": [*BUILD, "--extra", "ray", "--group", "scaling"],
    "requirements-dev.txt": [
        *[*BUILD, "--all-extras"],
        *["--group", "dev", "--group", "installer", "--group", "oracles"],
    ],
}


def main() -> int:
    for name, extra in FILES.items():
        subprocess.run([*COMMON, *extra, "--output-file", name], cwd=ROOT, check=True)
        text = (ROOT / name).read_text()
        if "://" in text:
            raise SystemExit(f"{name} holds an address")
    return 0


if __name__ == "__main__":
    sys.exit(main())
