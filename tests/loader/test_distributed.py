"""Real processes of a torch.distributed job share the samples."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from loader_support import NUM_SAMPLES

from ffcv.errors import ArgumentError
from ffcv.loader import Loader

RANK = """
    import json, sys
    import torch.distributed as dist
    from ffcv.loader import Loader, OrderOption

    path, rank, size, meeting, order, seed = sys.argv[1:]
    dist.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=int(size))
    with Loader(
        path, 7, num_workers=1, order=OrderOption[order], distributed=True, drop_last=False,
        seed=int(seed) if seed != "none" else None,
    ) as loader:
        epochs = [[n for (b,) in loader for n in b.ravel().tolist()] for _ in range(2)]
        print(json.dumps({"seed": loader.seed, "len": len(loader), "epochs": epochs}))
    dist.destroy_process_group()
"""


def run_job(path, meeting, size, order, seed="5"):
    """What each rank saw."""
    code = textwrap.dedent(RANK)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code, path, str(r), str(size), meeting, order, seed],
            stdout=subprocess.PIPE, text=True,
        )
        for r in range(size)
    ]  # fmt: skip
    return [json.loads(rank.communicate(timeout=200)[0]) for rank in ranks]


@pytest.mark.parametrize("order", ["SEQUENTIAL", "RANDOM"])
def test_ranks_share_each_epoch(numbers, tmp_path, order):
    ranks = run_job(str(numbers), str(tmp_path / "meeting"), 3, order)
    for epoch in range(2):
        parts = [rank["epochs"][epoch] for rank in ranks]
        assert [len(part) for part in parts] == [34, 34, 34]
        together = [n for part in parts for n in part]
        assert set(together) == set(range(NUM_SAMPLES))
        assert len(together) == NUM_SAMPLES + 2
    assert all(rank["len"] == 5 for rank in ranks)
    assert (ranks[0]["epochs"][0] == ranks[0]["epochs"][1]) == (order == "SEQUENTIAL")


def test_ranks_agree_on_a_seed_that_nobody_gave(numbers, tmp_path):
    ranks = run_job(str(numbers), str(tmp_path / "meeting"), 2, "RANDOM", "none")
    assert ranks[0]["seed"] == ranks[1]["seed"]
    parts = [rank["epochs"][0] for rank in ranks]
    assert sorted(parts[0] + parts[1]) == list(range(NUM_SAMPLES))


def test_without_a_process_group(numbers):
    with pytest.raises(ArgumentError, match="init_process_group"):
        Loader(numbers, 7, distributed=True)
