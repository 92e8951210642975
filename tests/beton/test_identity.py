"""A pickled reader knows its file again, wherever that lies, and no other."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from ffcv.beton import identity
from ffcv.beton.file import BetonFile
from ffcv.errors import ChangedFileError
from ffcv.reader import Reader
from ffcv.writer.indexing import add_side_indexes
from tests.beton.building import PAGE, build


@pytest.mark.parametrize("name", ["images_jpg", "images_proportion", "scalars_arrays"])
def test_files_of_ffcv_1_get_a_side_index_meanwhile(fixture_path, tmp_path, name):
    path = shutil.copy(fixture_path(name), tmp_path / "x.beton")
    with Reader(path) as reader:
        pickled = pickle.dumps(reader)
    add_side_indexes(path)
    with pickle.loads(pickled) as reader:
        assert (reader.file.extension is not None) == (name != "scalars_arrays")
        again = pickle.dumps(reader)
    with pickle.loads(again) as reader:
        assert reader.num_samples > 0


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("place", [PAGE, PAGE + 5000, -1])
def test_one_changed_byte_of_a_small_file(tmp_path, fixture_path, extended, place):
    path = tmp_path / "x.beton"
    if extended:
        build(path, [(i, b"a" * 20_000, b"b") for i in range(10)])
    else:
        shutil.copy(fixture_path("images_raw"), path)
    with BetonFile(path) as file:
        pickled = pickle.dumps(file)
        place = file.data_end - 1 if place < 0 else place
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChangedFileError, match="not the file that was open"):
        pickle.loads(pickled)
    content[place] ^= 1
    path.write_bytes(content)
    pickle.loads(pickled).close()


@pytest.mark.parametrize("name", ["images_raw", "scalars_arrays"])
def test_what_was_written_over_a_file_before_it_was_pickled(fixture_path, tmp_path, name):
    path = shutil.copy(fixture_path(name), tmp_path / "x.beton")
    with Reader(path) as reader:
        size = reader.file.header.alloc_table_ptr - reader.file._records_start
        with path.open("r+b") as file:
            file.seek(reader.file._records_start)
            file.write(bytes(size))
        with pytest.raises(ChangedFileError, match="another file was written over it"):
            pickle.dumps(reader)


@pytest.mark.parametrize("count", [0, 1, 256, 257, 100_000])
def test_pieces_reach_from_the_beginning_to_the_end(count):
    start, size = 1065, identity._PIECE
    end = start + count * size
    places = identity._places(start, end)
    assert len(places) == min(count, 256)
    if count:
        assert (places[0], places[-1]) == (start, end - size)
        assert (np.diff(places) >= size).all()
