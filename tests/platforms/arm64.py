"""Runs tests on 64-bit ARM, emulated.

    python3 dev.py arm64                        the golden files and what else is quick
    python3 dev.py arm64 -- tests/kernels -x    with arguments for pytest
    python3 dev.py arm64 --cpu neoverse-v1      as another processor

Debian for ARM is unpacked into ``.venv-arm64``, with the Python that it has, and wheels of what
ffcv needs, without torch. QEMU runs its programs one at a time: what starts a child process cannot
be tested this way, and it is slow, compiling above all. Needs debootstrap, qemu-user-static, dpkg.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from versions import requirements

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".venv-arm64"
SYSTEM, WHEELS, COMPILED = PLACE / "root", PLACE / "wheels", PLACE / "compiled"
PACKAGES = SYSTEM / "usr" / "lib" / "python3" / "dist-packages"
PYTHON = SYSTEM / "usr" / "bin" / "python3.11"

TOOLS = {
    "debootstrap": "debootstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "dpkg-deb": "dpkg",
}
"""Programs, and the packages of Debian that have them."""

TESTS = (
    *("tests/golden", "tests/kernels/test_random.py", "tests/kernels/test_vectors.py"),
    *("tests/images/test_decoders.py", "tests/images/test_resize_rgb.py"),
    "tests/images/jpeg/test_jpeg_decoder.py",
)

# QEMU shows programs the processor of the machine that it runs on. The compiler reads here which
# one it is to make code for: part numbers, and what the emulated one can do.
PARTS = {"neoverse-n1": "0xd0c", "neoverse-v1": "0xd40"}
FEATURES = {
    "neoverse-n1": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
    "lrcpc dcpop asimddp ssbs",
    "neoverse-v1": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
    "jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs "
    "paca pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng",
}


def main(arguments: list[str]) -> int:
    """Prepare what is not there yet, and run the tests; the status is pytest's."""
    parser = argparse.ArgumentParser(prog="dev.py arm64", description=__doc__.split("\n\n")[0])
    parser.add_argument("--cpu", choices=sorted(PARTS), default="neoverse-n1")
    parser.add_argument("tests", nargs="*", default=list(TESTS), help="arguments for pytest")
    chosen = parser.parse_args(arguments)
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if missing:
        print(f"Not here: {', '.join(sorted(missing))}. On Debian, apt-get install them.")
        return 2
    try:
        if not PYTHON.exists():
            unpack_system()
        unpack_packages()
    except subprocess.CalledProcessError as error:
        print(f"{error}; what went wrong stands above.")
        return 1
    write_processor(chosen.cpu)
    return run_tests(chosen.cpu, chosen.tests)


def unpack_system() -> None:
    """Put Debian's files into place. Nothing is configured, as that would need a kernel."""
    shutil.rmtree(PLACE, ignore_errors=True)
    include = "--include=python3,python3-venv,libstdc++6"
    _run(
        *("debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", include),
        *("bookworm", SYSTEM),
    )
    for package in sorted((SYSTEM / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        _run("dpkg-deb", "-x", package, SYSTEM)


def unpack_packages() -> None:
    """Put wheels for ARM where that Python finds them, and ffcv as it is now."""
    if not WHEELS.exists():
        platforms = [
            f"--platform={name}_aarch64"
            for name in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
        ]
        _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "-c", "constraints.txt"),
            *("--dest", WHEELS, "--python-version=311", "--only-binary=:all:", *platforms),
            *requirements(),
        )
        for wheel in sorted(WHEELS.glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(PACKAGES)
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"),
        *("--target", PACKAGES, "."),
    )


def write_processor(cpu: str) -> None:
    """Say in the emulated system which processor it has."""
    about = SYSTEM / "proc" / "cpuinfo"
    about.parent.mkdir(exist_ok=True)
    about.write_text(
        f"processor\t: 0\nFeatures\t: {FEATURES[cpu]}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {PARTS[cpu]}\nCPU revision\t: 1\n"
    )


def run_tests(cpu: str, tests: list[str]) -> int:
    """Run pytest there, on the files of this checkout."""
    environment = {
        "FFCV_CACHE_DIR": str(COMPILED / cpu),
        "HOME": str(PLACE),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = ["qemu-aarch64-static", "-cpu", cpu, "-L", SYSTEM, PYTHON, "-m", "pytest", "-q"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *tests], cwd=ROOT, env=environment, check=False
    ).returncode


def _run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
