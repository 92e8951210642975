"""The public names: lazy, complete, and the same for people, editors and type checkers."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import ffcv
from ffcv.errors import UnknownNameError
from ffcv.plugin import registry
from ffcv.plugin.generate_namespaces import stale
from ffcv.plugin.namespaces import LAZY_NAMESPACES, LazyNamespace, attach
from ffcv.plugin.records import Kind

NAMES_OF_FFCV_1 = {
    "ffcv": "Loader DatasetWriter",
    "ffcv.fields": "Field FloatField IntField RGBImageField BytesField NDArrayField "
    "TorchTensorField JSONField",
    "ffcv.fields.decoders": "FloatDecoder IntDecoder NDArrayDecoder BytesDecoder "
    "RandomResizedCropRGBImageDecoder CenterCropRGBImageDecoder SimpleRGBImageDecoder",
    "ffcv.fields.rgb_image": "SimpleRGBImageDecoder RandomResizedCropRGBImageDecoder "
    "CenterCropRGBImageDecoder RGBImageField",
    "ffcv.transforms": "Cutout RandomHorizontalFlip ToTensor ToDevice ToTorchImage Convert View "
    "Squeeze NormalizeImage RandomTranslate ModuleWrapper",
}


def test_generated_blocks_are_current() -> None:
    assert list(stale()) == [], "run python -m ffcv.plugin.generate_namespaces"


def test_generator_notices_a_stale_block(site, monkeypatch) -> None:
    site.field_plugin("mine", "MineField")
    site.use()
    assert list(stale()) == [], "only what ffcv itself provides belongs into its files"
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "scalars")
    site.use()
    changed = {f"{path.parent.name}/{path.name}": text for path, text in stale().items()}
    assert set(changed) == {"fields/__init__.py", "fields/decoders.py"}
    assert "BytesField" in changed["fields/__init__.py"]
    assert "IntField" not in changed["fields/__init__.py"]


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in NAMES_OF_FFCV_1.items() for name in names.split()],
)
def test_name_of_ffcv_1_is_there(module: str, name: str) -> None:
    imported = importlib.import_module(module)
    assert isinstance(getattr(imported, name), type)
    assert name in dir(imported)
    assert name in imported.__all__


@pytest.mark.parametrize("module", [*LAZY_NAMESPACES, "ffcv"])
def test_star_import_and_all_agree(module: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {module} import *", namespace)
    assert set(importlib.import_module(module).__all__) == set(namespace) - {"__builtins__"}


def test_names_are_the_same_classes_everywhere() -> None:
    import ffcv.fields
    import ffcv.fields.decoders

    assert ffcv.fields.ByteField is ffcv.fields.BytesField
    assert ffcv.fields.IntField is registry.lookup("IntField")
    assert ffcv.fields.decoders.IntDecoder is ffcv.fields.IntField().get_decoder_class()
    assert type(pickle.loads(pickle.dumps(ffcv.fields.IntField()))) is ffcv.fields.IntField


@pytest.mark.parametrize("module", [*LAZY_NAMESPACES, "ffcv"])
def test_unknown_names(module: str) -> None:
    imported = importlib.import_module(module)
    assert not hasattr(imported, "NoSuchThing")
    assert not hasattr(imported, "__wrapped__")
    with pytest.raises(ImportError):
        exec(f"from {module} import NoSuchThing")


def test_unknown_name_is_explained() -> None:
    import ffcv.transforms

    with pytest.raises(UnknownNameError, match="did you mean Cutout"):
        _ = ffcv.transforms.CutOut
    with pytest.raises(UnknownNameError, match="no transform called 'IntField'"):
        _ = ffcv.transforms.IntField


def test_field_of_a_stranger_is_shown(site) -> None:
    site.field_plugin("mine", "MineField")
    code = """
    import ffcv.fields
    from ffcv.fields import MineField
    print(MineField.__module__, "MineField" in dir(ffcv.fields), "MineField" in ffcv.fields.__all__)
    """
    assert site.run(code) == "mine_fields True True"


def test_a_field_of_a_stranger_is_not_hidden_by_a_module(site) -> None:
    site.field_plugin("mine", "ndarray")
    assert site.run("import ffcv.fields; print(ffcv.fields.ndarray.__module__)") == "mine_fields"


def test_listing_leaves_out_what_cannot_be_imported(monkeypatch) -> None:
    import ffcv.transforms

    monkeypatch.setitem(sys.modules, "torch", None)
    assert "ToTensor" not in ffcv.transforms.__all__
    assert "Cutout" in ffcv.transforms.__all__


def test_namespace_with_chosen_names(monkeypatch) -> None:
    module = type(sys)("some_namespace")
    monkeypatch.setitem(sys.modules, "some_namespace", module)
    namespace = LazyNamespace((Kind.FIELD, Kind.DECODER), ("IntField", "IntDecoder"))
    module.__getattr__, module.__dir__ = attach("some_namespace", namespace)
    assert module.__all__ == ["IntDecoder", "IntField"]
    assert module.IntField is registry.lookup("IntField")
    with pytest.raises(AttributeError, match="some_namespace"):
        _ = module.FloatField


def test_namespace_with_a_value_beside_a_contribution(site, monkeypatch) -> None:
    import ffcv_plugins.scalars.fields as home

    monkeypatch.setattr(home, "MODES", {"a": 1}, raising=False)
    namespace = LazyNamespace((Kind.FIELD,), ("IntField",), beside={"MODES": "IntField"})
    assert namespace.listing() == ["IntField", "MODES"]
    assert namespace.find("MODES") is home.MODES
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "scalars")
    site.use()
    assert namespace.listing() == []
    with pytest.raises(UnknownNameError):
        namespace.find("MODES")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import ffcv", "torch cv2 numba numpy pluggy PIL"),
        ("import ffcv; ffcv.fields.ndarray, ffcv.transforms.ops, ffcv.libffcv", "torch cv2 numba"),
        ("import ffcv; ffcv.traversal_order.base, ffcv.pipeline.PipelineSpec", "torch cv2 numba"),
        ("import ffcv; ffcv.__version__; dir(ffcv)", "torch cv2 numba numpy pluggy"),
        ("import ffcv.fields, ffcv.transforms, ffcv.fields.decoders", "torch cv2 numba PIL"),
        ("from ffcv.fields import IntField", "torch cv2"),
        ("import ffcv.cli", "torch cv2 numba numpy pluggy tqdm"),
    ],
)
def test_importing_is_light(code: str, absent: str) -> None:
    check = f"import sys; {code}; print([m for m in {absent.split()} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert ffcv.__version__ == version("ffcv")


@pytest.mark.slow
def test_type_checkers_know_the_names_and_no_others(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    others = ["numpy", "torch", "numba", "cv2", "PIL", "xxhash", "tqdm", "pluggy"]
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in others)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\n{skipped}", "utf-8")
    page = tmp_path / "page.py"
    page.write_text(
        "from ffcv.fields import ByteField, Field, IntField\n"
        "from ffcv.fields.decoders import IntDecoder\n"
        "from ffcv.transforms import Cutout\n"
        "reveal_type(IntField())\n"
        "from ffcv.fields import Bogus\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", page],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("page.py")]
    assert len(lines) == 2, done.stdout + done.stderr
    assert 'Revealed type is "ffcv_plugins.scalars.fields.IntField"' in lines[0]
    assert 'no attribute "Bogus"' in lines[1]
