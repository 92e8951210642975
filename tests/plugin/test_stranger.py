"""A stranger's plugin, installed with pip beside ffcv: used, tested, and missed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import Protocol

import pytest

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")

WRITE = """
import sys
import numpy as np
from ffcv import DatasetWriter
from ffcv.fields import IntField, WaveformField

class Sounds:
    def __len__(self):
        return 10
    def __getitem__(self, i):
        return np.arange(5 + i, dtype=np.int16) * 100, i

if __name__ == "__main__":
    fields = {"sound": WaveformField(8000), "label": IntField()}
    DatasetWriter(sys.argv[1], fields, num_workers=0).from_indexed_dataset(Sounds())
"""

READ = """
import sys
import numpy as np
from ffcv import Loader

loader = Loader(sys.argv[1], batch_size=4, num_workers=1, drop_last=False)
seen = 0
for sounds, labels in loader:
    for sound, label in zip(np.asarray(sounds), np.asarray(labels)):
        expected = np.zeros((1, 14), np.float32)
        expected[0, : 5 + int(label[0])] = np.arange(5 + int(label[0])) * 100 / 32768
        np.testing.assert_array_equal(sound, expected)
        seen += 1
assert seen == 10, seen
assert "ffcv_audio" in sys.modules

from ffcv.fields.decoders import WaveformDecoder
from ffcv.transforms import RandomGain
pipelines = {"sound": [WaveformDecoder(3), RandomGain(20, 20)], "label": None}
(batch, *rest) = next(iter(Loader(sys.argv[1], batch_size=10, num_workers=1, pipelines=pipelines)))
assert batch.shape == (10, 1, 3) and batch.dtype == np.float32
steps = np.diff(batch[:, 0] * 32768 / 1000, axis=1)
np.testing.assert_allclose(steps, 1, rtol=1e-3)
"""

OPEN = """
import sys
from ffcv.errors import MissingPluginError
from ffcv.reader import Reader
try:
    Reader(sys.argv[1])
except MissingPluginError as error:
    print(error)
"""


class Python(Protocol):
    """Run an interpreter with arguments; gives what it printed. It is to end with a status."""

    def __call__(self, *arguments: object, status: int = 0) -> str: ...


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Run the interpreter of a new environment, which sees all that is installed here."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=300)
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    here = sysconfig.get_paths()
    # As a site directory, so that installations in editable mode are seen too.
    lines = {f"import site; site.addsitedir({here[key]!r})\n" for key in ("purelib", "platlib")}
    Path(paths["purelib"], "here.pth").write_text("".join(sorted(lines)), "utf-8")

    def run(*arguments: object, status: int = 0) -> str:
        done = subprocess.run(
            [home / "bin" / "python", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def _copy(source: Path, target: Path) -> None:
    """What somebody would check out."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def _script(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(source), "utf-8")
    return path


WRITE_IMAGES = """
import sys
import numpy as np
from ffcv import DatasetWriter
from ffcv.fields import ImageField, IntField

class Images:
    def __len__(self):
        return 10
    def __getitem__(self, i):
        return np.full((40, 50, 3), i * 20, np.uint8), i

if __name__ == "__main__":
    fields = {"image": ImageField("qoi"), "label": IntField()}
    DatasetWriter(sys.argv[1], fields, num_workers=0).from_indexed_dataset(Images())
"""

READ_IMAGES = """
import sys
import numpy as np
from ffcv import Loader
from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder

pipelines = {"image": [RandomResizedCropRGBImageDecoder((8, 9))], "label": None}
loader = Loader(sys.argv[1], batch_size=4, num_workers=1, pipelines=pipelines, drop_last=False)
batches = [np.asarray(images) for (images,) in loader]
assert (np.concatenate(batches)[:, 0, 0, 0] == np.arange(10) * 20).all()
assert "qoi, compiled; whole images" in loader.explain()
assert "so far" not in loader.explain(), "a kernel decodes all of them"
"""

LOAD = """
import sys
from ffcv import Loader
from ffcv.errors import PipelineError
try:
    Loader(sys.argv[1], batch_size=4)
except PipelineError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_strangers_image_codec(python: Python, tmp_path: Path) -> None:
    for needed in ("hatchling", "pip", "qoi"):
        pytest.importorskip(needed)
    source = tmp_path / "source"
    _copy(CONTRIB / "ffcv-qoi", source)
    file = tmp_path / "images.beton"

    python("-m", "pip", "install", *OFFLINE, source)
    assert "image codec  qoi" in python("-m", "ffcv.cli", "plugins")
    python(_script(tmp_path, "write.py", WRITE_IMAGES), file)
    python(_script(tmp_path, "read.py", READ_IMAGES), file)
    info = python("-m", "ffcv.cli", "info", file)
    assert "by the codec qoi (of ffcv-qoi)" in info
    assert "written with" in info
    python("-m", "ffcv.cli", "verify", file)
    assert " passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests")

    python("-m", "pip", "uninstall", "--yes", "--disable-pip-version-check", "ffcv-qoi")
    said = python(_script(tmp_path, "load.py", LOAD), file)
    assert "output 'image'" in said
    assert "needs the package 'ffcv-qoi'" in said
    assert "pip install ffcv-qoi" in said
    assert "by the codec qoi (of ffcv-qoi)" in python("-m", "ffcv.cli", "info", file)


@pytest.mark.slow
def test_a_strangers_storage(python: Python, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    source = tmp_path / "source"
    _copy(CONTRIB / "ffcv-zip", source)
    python("-m", "pip", "install", *OFFLINE, source)
    listing = python("-m", "ffcv.cli", "plugins")
    assert "zip (ffcv-zip 0.1.0), loaded" in listing
    assert "ZipOfImages" in listing
    assert " passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests")


@pytest.mark.slow
def test_a_strangers_plugin(python: Python, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    source = tmp_path / "source"
    _copy(CONTRIB / "ffcv-audio", source)
    file = tmp_path / "sounds.beton"

    python("-m", "pip", "install", *OFFLINE, source)
    listing = python("-m", "ffcv.cli", "plugins")
    assert "audio (ffcv-audio 0.1.0), loaded" in listing
    assert "WaveformField" in listing

    python(_script(tmp_path, "write.py", WRITE), file)
    python(_script(tmp_path, "read.py", READ), file)
    assert "8000 Hz, 1 channels" in python("-m", "ffcv.cli", "info", file)
    assert " passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests")

    python("-m", "pip", "uninstall", "--yes", "--disable-pip-version-check", "ffcv-audio")
    said = python(_script(tmp_path, "open.py", OPEN), file)
    assert "field 'sound'" in said
    assert "WaveformField needs the package 'ffcv-audio': pip install ffcv-audio" in said
    assert "pip install ffcv-audio" in said
    info = python("-m", "ffcv.cli", "info", file, status=1)
    assert "sound: WaveformField (of ffcv-audio)" in info
    assert "pip install ffcv-audio" in info


@pytest.mark.slow
def test_a_strangers_operations_and_decoder_are_fused(python: Python, tmp_path: Path) -> None:
    """Its own tests compare what is fused, with decoders and operations of ours too."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    source = tmp_path / "source"
    _copy(CONTRIB / "ffcv-palette", source)
    python("-m", "pip", "install", *OFFLINE, source)
    assert " passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests")
