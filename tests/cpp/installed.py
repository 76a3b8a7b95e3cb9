"""The C++ library, built and installed as a user would."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "tests"
HEADERS = {
    "libjpeg62-turbo-dev": "jpeglib.h",
    "nlohmann-json3-dev": "nlohmann/json.hpp",
    "libssl-dev": "openssl/evp.h",
}


def command(*words: object) -> subprocess.CompletedProcess[bytes]:
    """Runs a program."""
    leaks = Path(__file__).with_name("leaks_of_others.txt")
    environment = {
        **os.environ,
        # Otherwise OpenVINO's TBB opens libraries in a way that AddressSanitizer refuses.
        "TBB_ENABLE_SANITIZERS": "1",
        "LSAN_OPTIONS": f'suppressions="{leaks}":print_suppressions=0',
    }
    return subprocess.run([*map(str, words)], capture_output=True, check=False, timeout=500, env=environment)


def must(*words: object) -> bytes:
    """Runs a program that has to succeed; returns its stdout."""
    done = command(*words)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-4000:]
    return done.stdout


def skip_where_tools_are_missing() -> None:
    missing = [name for name in ("cmake", "c++") if not shutil.which(name)]
    includes = (Path("/usr/include"), Path("/usr/local/include"))
    missing += [
        package for package, header in HEADERS.items() if not any((at / header).exists() for at in includes)
    ]
    if missing:
        pytest.skip(f"needs apt-get install {' '.join(missing)}")


class Built:
    """An installed library, its program, and the tests' program built against it.

    Kept in `build/tests` under a name of all that makes them: other processes and later runs take it over.
    """

    def __init__(self, name: str, openvino_cmake: Path, sanitize: str = "") -> None:
        skip_where_tools_are_missing()
        flags = (
            f"-DOpenVINO_DIR={openvino_cmake}",
            f"-DALEXNET_FAST_SANITIZE={sanitize}",
            "-DALEXNET_FAST_WERROR=ON",
        )
        KEPT.mkdir(parents=True, exist_ok=True)
        directory = KEPT / f"{name}-{digest(flags)}"
        self.prefix = directory / "installed"
        self.classify = self.prefix / "bin/classify"
        self.probe = directory / "probe" / "probe"
        with (KEPT / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (directory / "complete").exists():
                for earlier in KEPT.glob(f"{name}-*"):
                    shutil.rmtree(earlier)
                self._build(directory, flags, sanitize)
                (directory / "complete").touch()

    def _build(self, directory: Path, flags: Sequence[str], sanitize: str) -> None:
        # A copy, because the folder must not depend on the repository around it.
        source, build = directory / "copied", directory / "build"
        shutil.copytree(ROOT / "serve/cpp", source)
        must("cmake", "-S", source, "-B", build, *flags)
        must("cmake", "--build", build, "--parallel", 2)
        must("cmake", "--install", build, "--prefix", self.prefix)
        found = (f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DSANITIZE={sanitize}")
        must("cmake", "-S", ROOT / "tests/cpp/probe", "-B", self.probe.parent, *found)
        must("cmake", "--build", self.probe.parent)


def digest(flags: Sequence[str]) -> str:
    """Returns a name for the sources, the compiler and its options."""
    state = hashlib.sha256(must("c++", "--version") + repr((str(ROOT), *flags)).encode())
    for directory in (ROOT / "serve/cpp", ROOT / "tests/cpp/probe"):
        for file in sorted(file for file in directory.rglob("*") if file.is_file()):
            state.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return state.hexdigest()[:16]
