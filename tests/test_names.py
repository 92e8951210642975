"""The words and spellings of identifiers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RGBImageField", ["rgb", "image", "field"]),
        ("_to_gray2", ["to", "gray", "2"]),
        ("toGRAYRow", ["to", "gray", "row"]),
        ("__init__", ["init"]),
        ("", []),
    ],
)
def test_words_of_a_name(name: str, words: list[str]) -> None:
    assert names.words_of(name) == words


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("normaliseRow", ["normalize"]),
        ("GREY_COLOURS", ["color", "gray"]),
        ("sample_id", ["sample index"]),
        ("is_folded", ["fuse"]),
        ("folder", []),
        ("surface", []),
        ("sample_index", []),
        ("sampled_ids", []),
    ],
)
def test_what_is_wrong_with_a_name(name: str, better: list[str]) -> None:
    assert sorted(word for _, word in names.faults(name)) == better


SOURCE = """
import numpy as grey
from elsewhere import colour, route as leg
def test_a_colour_is_kept(): pass
class Trunk:
    def fold(self, face): self.survey = colour.normalise(handover=1)
"""


def test_names_are_looked_at_where_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ffcv").mkdir()
    (tmp_path / "ffcv" / "routes.py").write_text(SOURCE)
    found = {use.name for use in names.uses(tmp_path) if list(names.faults(use.name))}
    assert found == {"grey", "leg", "Trunk", "fold", "face", "survey", "routes"}
    monkeypatch.setattr(names, "ROOT", tmp_path)
    monkeypatch.setattr(names, "ALLOWED", {"fold": "it stays"})
    assert names.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ffcv/routes.py:5: Trunk: say 'shared prefix', not 'trunk'" in lines
    assert len(lines) == len(found) - 1
    monkeypatch.setattr(names, "ALLOWED", dict.fromkeys(found | {"gone"}, "it stays"))
    assert names.main() == 0
    assert "gone need not be allowed any more" in capsys.readouterr().out


def test_every_exception_has_a_reason() -> None:
    assert all(reason.strip() for reason in names.ALLOWED.values())


def test_ours_are_as_they_should_be() -> None:
    assert names.main() == 0
