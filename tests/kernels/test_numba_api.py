"""What we use of Numba that its documentation does not promise.

Each name stands here once. So this is what to run first with a new version of Numba: it says which
of them is gone, and the bound in ``pyproject.toml`` keeps users below the first version that nobody
has tried.
"""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ffcv.kernels import cache, kernel
from ffcv.kernels.entry import Entry

ROOT = Path(__file__).resolve().parents[2]

DOCUMENTED = {"numba", "numba.extending", "numba.types"}
"""Modules whose names may be imported without a mention here."""

UNDOCUMENTED = {
    # Code that is only a part of other code is not optimised by itself (kernels/inlining.py).
    "numba.core.codegen": {"JITCodeLibrary"},
    "numba.core.compiler": {"CompileResult", "CompilerBase", "DefaultPassBuilder", "_LowerResult"},
    "numba.core.compiler_machinery": {"register_pass"},
    "numba.core.typed_passes": {"NativeLowering"},
    # Entry points, and a compile cache of our own (kernels/entry.py, kernels/cache/compiled.py).
    "numba.core": {"config"},
    "numba.core.ccallback": {"CFunc"},
    "numba.core.serialize": {"dumps"},
    # Calls that mean one value, and the vectors' operators (kernels/marking.py, vectors/types.py).
    "numba.core.typing.templates": {"AbstractTemplate", "infer_global", "signature"},
    # Whether somebody compiled a function already, and what fails (pipeline/).
    "numba.core.dispatcher": {"Dispatcher"},
    "numba.core.errors": {"NumbaError"},
}
"""Names that we import from elsewhere."""

MEMBERS = {
    "numba.core.codegen:JITCodeLibrary": (
        "_optimize_final_module _finalize_final_module _finalize_dynamic_globals "
        "enable_object_caching has_dynamic_globals"
    ),
    "numba.core.compiler:CompileResult": "_reduce _rebuild lifted library codegen signature",
    "numba.core.compiler:CompilerBase": "define_pipelines",
    "numba.core.compiler:DefaultPassBuilder": "define_nopython_pipeline",
    "numba.core.compiler:_LowerResult": "fndesc call_helper cfunc env",
    "numba.core.compiler_machinery:PassManager": "finalize",
    "numba.core.typed_passes:NativeLowering": "run_pass",
    "numba.core.compiler:Flags": "no_compile no_cfunc_wrapper no_cpython_wrapper",
    "numba.core.cpu:CPUContext": "codegen insert_user_function refresh get_constant_generic",
    "numba.core.cpu:CPUTargetOptions": "_nrt error_model forceinline",
    "numba.core.config": (
        "DISABLE_JIT OPT LOOP_VECTORIZE SLP_VECTORIZE BOUNDSCHECK DEBUGINFO_DEFAULT"
    ),
    "numba.core.dispatcher:Dispatcher": "compile",
    "numba.core.ccallback:CFunc": "compile address",
    "numba.core.types:Record": "typeof",
    "numba.core.types:ExternalFunction": "key",
}
"""Members of theirs that we use or override."""

PRIVATE = {
    "_cache": "a function's: where it looks for what was compiled before",
    "_rebuild": "CompileResult's",
    "_reduce": "CompileResult's",
    "_reload_init": "JITCodeLibrary's, in newer versions",
    "_finalized": "PassManager's and JITCodeLibrary's",
}
"""Private attributes of Numba's objects that the core mentions."""


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in ("ffcv", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text("utf-8"))


def test_what_is_imported_is_named():
    found: dict[str, set[str]] = {}
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
                if node.module not in DOCUMENTED:
                    found.setdefault(node.module, set()).update(name.name for name in node.names)
            elif isinstance(node, ast.Import):
                assert not [name for name in node.names if name.name.startswith("numba.")]
    assert found == UNDOCUMENTED


def test_what_is_private_is_named():
    """In the modules that know Numba's objects, which are the compiler's."""
    attributes = [
        node
        for path, tree in sources()
        if "kernels" in path.parent.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr)
    ]
    own = ("self", "cls")
    found = {
        a.attr for a in attributes if not isinstance(a.value, ast.Name) or a.value.id not in own
    }
    assert found == set(PRIVATE)


@pytest.mark.parametrize("module", UNDOCUMENTED)
def test_names_exist(module):
    there = vars(importlib.import_module(module))
    assert UNDOCUMENTED[module] <= there.keys()


@pytest.mark.parametrize("owner", MEMBERS)
def test_members_exist(owner):
    module, _, name = owner.partition(":")
    found = importlib.import_module(module)
    found = getattr(found, name) if name else found
    missing = [member for member in MEMBERS[owner].split() if not hasattr(found, member)]
    assert not missing, f"{owner} of Numba {numba.__version__} has no {missing}"


@kernel
def triple(number):
    return 3 * number


def test_compiled_functions_have_what_we_ask_them_for():
    function = cache.keep(njit(nogil=True, error_model="numpy", _nrt=False)(triple), None)
    function.compile((types.int64,))
    assert function.overloads[types.int64,].entry_point(2) == 6
    assert function.overloads[types.int64,].signature.return_type == types.int64
    assert function.py_func is triple
    assert function.targetoptions["_nrt"] is False
    assert sum(function.stats.cache_misses.values()) == 1, "it asked a cache of Numba's own"
    assert Entry(triple)(4) == 12


def test_intrinsics_lead_to_what_defines_them():
    @intrinsic
    def nothing(context):
        return types.void(), lambda *_: ir.Constant(ir.IntType(1), 0)

    assert nothing._defn.__name__ == "nothing"


def test_the_version_that_is_tested_is_below_the_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = (each for each in project["dependencies"] if each.startswith("numba"))
    lowest, bound = re.fullmatch(r"numba>=(\d+\.\d+),<(\d+\.\d+)", wanted).groups()
    tested = re.search(r"^numba==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.M)
    assert bound == f"{tested[1]}.{int(tested[2]) + 1}", "the bound is the minor version behind it"
    lowest_tested = re.search(
        r"^numba==(\d+\.\d+)", (ROOT / "constraints-lowest.txt").read_text("utf-8"), re.M
    )
    assert lowest_tested[1] == lowest
