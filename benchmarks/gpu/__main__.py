"""GPU tests and benchmarks, in under six minutes, on a machine without network.

    python3 dev.py gpu --prepare [--there NAME …]    with a network: download wheels
    python3 dev.py gpu [--out FOLDER]                on the machine: run everything

``--prepare`` downloads wheels of what ffcv and its tests need, but torch, to .ffcv-wheels, which
git ignores and which has to be taken along. The other call runs with the Python that has torch,
installs nothing into it, and writes gpu-DEVICE-DATE.json to benchmarks/results. Exit status: 0, all
parts went well; 1, one did not; 3, nothing was measured, since there is no CUDA device. The tests
with simulated devices run then, and no file is written.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from machine import commit, describe
from parts import ON_DEVICES, SIMULATED, Outcome, Part, run
from wheels import ROOT, prepare, unpack

SECONDS = 350.0
"""All parts together, so that the whole stays under six minutes."""
FAILED, NOTHING_MEASURED = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        "dev.py gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", action="store_true", help="download wheels")
    parser.add_argument(
        "--python", default=".".join(map(str, sys.version_info[:2])), help="of the machine"
    )
    parser.add_argument(
        "--there", nargs="+", default=[], metavar="NAME", help="packages that the machine has"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    if options.prepare:
        prepare(options.python, options.there)
        return 0
    deadline = time.monotonic() + SECONDS
    with environment() as variables:
        return run_all(options.out, deadline, variables)


@contextlib.contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Variables with which programs find ffcv, and what it needs: installed, or in wheels."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), str(ROOT / "plugins")]
        try:
            importlib.metadata.version("ffcv")
        except importlib.metadata.PackageNotFoundError:
            site = Path(folder) / "site"
            unpack(site)
            paths.insert(0, str(site))
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        cache = {"FFCV_CACHE_DIR": str(Path(folder) / "cache")}
        yield cache | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def run_all(out: Path, deadline: float, variables: dict[str, str]) -> int:
    """Run all parts where there is a device, and else those that do without."""
    machine = describe(variables)
    if machine is None:
        outcomes = run_parts(SIMULATED, deadline, variables)
        print("There is no CUDA device: nothing was measured, and no file was written.")
        return NOTHING_MEASURED if all(o.result == "passed" for o in outcomes.values()) else FAILED
    outcomes = run_parts(ON_DEVICES, deadline, variables)
    now = datetime.now(UTC)
    report = {
        **machine,
        **commit(),
        "date": now.isoformat(timespec="seconds"),
        "parts": {name: outcome.as_json() for name, outcome in outcomes.items()},
    }
    device = re.sub(r"\W+", "-", machine["device"].lower()).strip("-")
    path = out / f"gpu-{device}-{now:%Y-%m-%d}.json"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"Written: {path}")
    return 0 if all(o.result == "passed" for o in outcomes.values()) else FAILED


def run_parts(
    parts: Sequence[Part], deadline: float, variables: dict[str, str]
) -> dict[str, Outcome]:
    """How each part ended. None keeps others from running."""
    outcomes = {}
    for part in parts:
        print(f"\n=== {part.name} (at most {part.seconds:.0f} s)", flush=True)
        outcomes[part.name] = outcome = run(part, deadline - time.monotonic(), variables)
        print(f"--- {part.name}: {outcome.result} after {outcome.seconds:.0f} s", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
