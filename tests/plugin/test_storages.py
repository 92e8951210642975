"""Storages of plugins; whatever one does wrong, the error names file, storage and plugin."""

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

from ffcv.cli import main
from ffcv.errors import BetonError, MissingFileError, PluginError, TruncatedFileError
from ffcv.fields import BytesField, IntField
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv.testing.conformance import StorageConformance
from ffcv.writer import DatasetWriter

SOURCE = """
import numpy as np
from ffcv.storage import Source

class Good(Source):
    def __init__(self, path):
        super().__init__(path)
        self._bytes = np.fromfile(path, np.uint8)
        self.num_bytes = len(self._bytes)

    def read_into(self, offset, buffer):
        if offset + len(buffer) > self.num_bytes:
            raise self.truncated(offset + len(buffer))
        self._give(offset, buffer)

    def _give(self, offset, buffer):
        buffer[:] = self._bytes[offset : offset + len(buffer)]

"""
HOOK = """
@hookimpl
def ffcv_storages():
    return [Contribution("Far", Kind.STORAGE, "far_plugin:Far", "far away", opens=(".far",))]
"""
WHO = r"x\.far: the storage Far \(plugin 'far' of far-dist\): "
RECORDS = 24 + 2 * 1096


@pytest.fixture
def opened_by(site, tmp_path):
    """``opened_by(source)``: a file with 40 samples that the class ``Far`` of this source opens."""

    def make(source: str) -> str:
        site.plugin("far", f"{SOURCE}{source}\n{HOOK}")
        site.use()
        path = tmp_path / "x.beton"
        writer = DatasetWriter(path, {"blob": BytesField(), "n": IntField()}, num_workers=0)
        values = [(np.full(1 + i * 97, i, np.uint8), i) for i in range(40)]
        writer.from_indexed_dataset(values)
        return str(path.rename(tmp_path / "x.far"))

    return make


class Ffcv:
    """The command, run with what is announced now."""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, list(arguments))
        return done.exit_code, done.output


ffcv = Ffcv()

WRONG = {
    "raises when it is opened": (
        "    def __init__(self, path): raise OSError('server is down')",
        BetonError,
        WHO + "opening it failed: OSError: server is down",
    ),
    "ends the program": (
        "    def __init__(self, path): raise SystemExit(0)",
        BetonError,
        WHO + "opening it failed: SystemExit: 0",
    ),
    "wants another argument": (
        "    def __init__(self, path, mode): pass",
        BetonError,
        WHO + "opening it failed: TypeError: .*'mode'",
    ),
    "says that nothing is there": (
        "    def __init__(self, path): raise FileNotFoundError('no such object')",
        MissingFileError,
        WHO + "opening it failed: FileNotFoundError: no such object",
    ),
    "raises when it is read": (
        "    def _give(self, offset, buffer): raise ConnectionResetError('peer hung up')",
        BetonError,
        WHO + "read_into failed: ConnectionResetError: peer hung up",
    ),
    "returns bytes": (
        "    def read_into(self, offset, buffer): return self._bytes[offset:].tobytes()",
        PluginError,
        WHO + "its read_into returned an object of type bytes; it must write",
    ),
    "has no size": (
        "    num_bytes = property(lambda self: None, lambda self, value: None)",
        PluginError,
        WHO + "expected a whole number from 0 as its num_bytes, got None",
    ),
    "has a size in words": (
        "    num_bytes = property(lambda self: '12', lambda self, value: None)",
        PluginError,
        WHO + "expected a whole number from 0 as its num_bytes, got '12'",
    ),
    "does not tell its base": (
        "    def __init__(self, path): self.num_bytes = 3000",
        PluginError,
        WHO + r"its __init__ must call super\(\).__init__\(path\)",
    ),
    "says that it can be mapped": (
        "    can_map = True\n    data = property(lambda self: self._bytes[1:])",
        PluginError,
        WHO + r"expected \d+ uint8 in its data, got an array",
    ),
    "fails when it is checked": (
        "    def check(self): return 1 / 0",
        BetonError,
        WHO + "check failed: ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_storage_does_wrong_is_told(opened_by, what) -> None:
    body, kind, words = WRONG[what]
    path = opened_by(f"class Far(Good):\n{body}")
    with pytest.raises(kind, match=words) as caught:
        list(Loader(path, 8, num_workers=1, jit=False))
    assert type(caught.value) is kind


def test_what_fails_in_the_middle_of_a_pass_is_told(opened_by) -> None:
    path = opened_by("""
class Far(Good):
    broken = False
    def fetch(self, ranges, memory):
        if self.broken:
            raise StopIteration
        super().fetch(ranges, memory)
""")
    loader = Loader(path, 8, num_workers=1, jit=False)
    assert len(list(loader)) == 5
    loader.reader.file.opened.source.broken = True
    words = r"fetch failed: StopIteration\. It was to be read for samples 0, 1, 2, 3, 4, …$"
    with pytest.raises(BetonError, match=WHO + words):
        list(loader)


@pytest.mark.parametrize("name", ["KeyboardInterrupt()", "self.truncated(7)"])
def test_what_is_meant_for_others_passes(opened_by, name) -> None:
    path = opened_by(f"class Far(Good):\n    def _give(self, offset, buffer): raise {name}")
    with pytest.raises((KeyboardInterrupt, TruncatedFileError)) as caught:
        Reader(path)
    assert "failed" not in str(caught.value)


def test_a_good_storage_is_a_file_as_any_other(opened_by) -> None:
    path = opened_by("class Far(Good): pass")
    with Reader(path) as reader, pickle.loads(pickle.dumps(reader)) as other:
        assert other.metadata.tobytes() == reader.metadata.tobytes()
    status, text = ffcv("verify", path)
    assert status == 0, text
    assert "x.far: ok (40 samples" in text
    assert "every checksum is right" in text


def test_verify_finds_damage_through_a_storage(opened_by) -> None:
    path = opened_by(f"""
class Far(Good):
    def _give(self, offset, buffer):
        super()._give(offset, buffer)
        if offset <= {RECORDS} < offset + len(buffer):
            buffer[{RECORDS} - offset] ^= 1
""")
    status, text = ffcv("verify", path)
    assert status == 1, text
    assert "x.far: damaged" in text
    assert "records" in text


def test_verify_does_not_take_a_lost_server_for_damage(opened_by) -> None:
    path = opened_by("""
class Far(Good):
    def _give(self, offset, buffer):
        if len(buffer) > 1 << 16:
            raise ConnectionResetError("peer hung up")
        super()._give(offset, buffer)
""")
    status, text = ffcv("verify", path)
    assert status == 2, text
    assert "read_into failed: ConnectionResetError: peer hung up" in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Near(Good): pass", "cannot be imported from far_plugin:Far"),
        ("class Far: pass", "Far does not derive from ffcv.storage.Source"),
        ("class Far(Source):\n    def readinto(self): pass", "Far does not define read_into"),
    ],
)
def test_what_is_no_storage_is_told(opened_by, source, words) -> None:
    """Everywhere the same: with file and plugin where one is opened, with the plugin in lists."""
    path, who = opened_by(source), "Far (plugin 'far' of far-dist)"
    for command in ("info", "verify"):
        status, text = ffcv(command, path)
        text = " ".join(text.split())
        assert status == 2, text
        assert f"x.far: {who}" in text
        assert words in text
    status, text = ffcv("plugins")
    assert status == 1, text
    assert words in " ".join(text.split())


def test_beton_files_are_opened_by_nobody_else(site, problems_of) -> None:
    site.plugin("far", f"{SOURCE}class Far(Good): pass\n{HOOK.replace('.far', '.BETON')}")
    site.use()
    assert "opens=('.BETON',), but .beton files are ffcv's own" in problems_of("far")


def test_one_storage_keeps_an_ending(site, problems_of) -> None:
    made = "Contribution(%r, Kind.STORAGE, %r, 'x', opens=%r)"
    source = f"@hookimpl\ndef ffcv_storages():\n    return [{made}]"
    site.plugin("first", source % ("One", "m:One", (".far", "far://")))
    site.plugin("second", source % ("Two", "m:Two", (".FAR", ".near")))
    site.use()
    registry = importlib.import_module("ffcv.plugin.registry")
    opens = {r.name: r.contribution.opens for r in registry.contributions() if r.contribution.opens}
    assert problems_of("first") == ""
    assert problems_of("second") == "Two does not open .FAR: One of first-dist does already"
    assert (opens["One"], opens["Two"]) == ((".far", "far://"), (".near",))


SHORT = {
    "half of it": "    def _give(self, at, buffer): super()._give(at, buffer[: len(buffer) // 2])",
    "none of it": "    def _give(self, offset, buffer): buffer = self._bytes[offset:]",
    "nothing fetched": "    def fetch(self, ranges, memory): pass",
}


@pytest.mark.parametrize("what", SHORT)
def test_the_suite_notices_buffers_that_are_not_filled(opened_by, what) -> None:
    path = opened_by(f"class Far(Good):\n{SHORT[what]}")
    suite = StorageConformance()
    suite.storage = importlib.import_module("far_plugin").Far
    with pytest.raises(AssertionError, match=r"it must fill the whole buffer, or raise self.trunc"):
        suite.test_reading_fills_the_whole_buffer(path)
