"""One source for all processors: the same results with fewer instructions, and code for others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from jpeg_digest import digest
from numba import cfunc, types

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg.decoder import decode_rgb
from ffcv_plugins.images.jpeg.row_index import index_rows
from ffcv_plugins.raster.resizing.rgb import copy_rgb

SUPPORT = Path(__file__).parent.parent / "support"
AARCH64 = "aarch64-unknown-linux-gnu"
AARCH64_MACHINE = 183


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["x86-64", "haswell"])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="these are x86 processors")
def test_older_processors(cpu):
    """With SSE2 only, and with AVX2 but not AVX-512."""
    chosen = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, SUPPORT / "jpeg_digest.py"]
    answer = json.loads(subprocess.run(command, env=chosen, stdout=-1, check=True).stdout)
    assert answer == {"cpu": cpu, "features": "", "digest": digest()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "arguments"), [(decode_rgb, 11), (index_rows, 6), (copy_rgb, 8)]
)
def test_code_for_aarch64(function, arguments):
    """LLVM makes an object file for ARM of what Numba has made, in NEON instructions."""
    signature = types.int64(*[types.int64] * arguments)
    text = cfunc(signature, **JIT_OPTIONS)(function)._library.get_llvm_str()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(AARCH64).create_target_machine(opt=3)
    for name, value in (("triple", AARCH64), ("datalayout", str(machine.target_data))):
        text = re.sub(rf'^target {name} = ".*"$', f'target {name} = "{value}"', text, flags=re.M)
    module = llvm.parse_assembly(text)
    module.verify()
    elf = machine.emit_object(module)
    assert elf[:4] == b"\x7fELF"
    assert int.from_bytes(elf[18:20], "little") == AARCH64_MACHINE
    assembly = machine.emit_assembly(module)
    assert function.__name__ in assembly
    # Whole vectors of bytes, and no call into a library of emulated operations.
    assert re.search(r"^\tld1|^\tldr\tq", assembly, re.M)
    assert re.search(r"\.16b", assembly)
    assert not re.search(r"^\tbl\t__", assembly, re.M)
