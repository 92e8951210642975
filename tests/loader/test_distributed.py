"""Real processes of a torch.distributed job share the samples."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from loader_support import NUM_SAMPLES
from test_resume import in_order

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


TRAINING = """
    import json, os, signal, sys
    from pathlib import Path
    import torch.distributed as dist
    from ffcv.loader import Loader

    path, rank, size, meeting, saved, kill_at = sys.argv[1:]
    dist.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=int(size))
    loader = Loader(path, 7, order="random", distributed=True, drop_last=False, seed=5)
    if Path(saved).exists():
        loader.load_state_dict(json.loads(Path(saved).read_text()))
    for (batch,) in loader:
        dist.barrier()  # as gradients are exchanged, which fails when a process is gone
        print(json.dumps(batch.flatten().tolist()), flush=True)
        state = loader.state_dict()
        if rank == "0":
            Path(saved).write_text(json.dumps(state))
        if (rank, state["step"]) == ("1", int(kill_at)):
            os.kill(os.getpid(), signal.SIGKILL)
    loader.close()
    dist.destroy_process_group()
"""

MISTAKES = """
    import json, sys, warnings
    import torch.distributed as dist
    from ffcv.errors import ArgumentError
    from ffcv.loader import Loader

    path, rank, size, meeting = sys.argv[1:]
    dist.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=int(size))
    said = {}
    for name, arguments in (("neither", {}), ("meant", {"rank": 0, "world_size": 1})):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Loader(path, 7, num_workers=1, **arguments).close()
        said[name] = [(str(one.message), one.filename) for one in caught]
    with Loader(path, 7, num_workers=1, distributed=True, seed=5) as loader:
        batches = iter(loader)
        for _ in range(1 + int(rank)):
            next(batches)
        try:
            loader.load_state_dict(loader.state_dict())
        except ArgumentError as error:
            said["error"] = str(error)
    print(json.dumps(said))
    dist.destroy_process_group()
"""


def start_job(program, path, meeting, size, *arguments):
    """The processes of a job."""
    code, rest = textwrap.dedent(program), map(str, (size, meeting, *arguments))
    given = list(rest)
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(rank), *given],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip


def run_job(path, meeting, size, order, seed="5"):
    """What each rank saw."""
    ranks = start_job(RANK, path, meeting, size, order, seed)
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


@pytest.mark.parametrize(("sizes", "kill_at"), [((3, 2), 3), ((2, 1), 5)])
def test_a_job_goes_on_with_one_process_fewer(numbers, tmp_path, sizes, kill_at):
    with Loader(numbers, 7, order="random", seed=5) as alone:
        whole = alone.next_traversal_order().tolist()
    saved, seen = tmp_path / "state", []
    for turn, size in enumerate(sizes):
        job = start_job(
            TRAINING, numbers, tmp_path / f"meeting{turn}", size, saved, -turn or kill_at
        )
        printed = [rank.communicate(timeout=200)[0] for rank in job]
        ends = [rank.returncode for rank in job]
        assert (ends[1] == -9 and 0 not in ends) if turn == 0 else set(ends) == {0}
        seen += in_order([[json.loads(line) for line in lines.splitlines()] for lines in printed])
        if turn == 0:
            assert len(seen) == 7 * size * kill_at
    assert seen[:NUM_SAMPLES] == whole
    assert len(seen) - NUM_SAMPLES < sizes[-1]


def test_what_goes_wrong_in_a_job_is_said(numbers, tmp_path):
    job = start_job(MISTAKES, numbers, tmp_path / "meeting", 2)
    for rank in job:
        said = json.loads(rank.communicate(timeout=200)[0])
        ((words, file),) = said["neither"]
        assert "one of 2 processes" in words
        assert "rank=0, world_size=1" in words
        assert file == "<string>"  # the line that made the loader
        assert said["meant"] == []
        assert "differ between the processes" in said["error"]
        assert "rank 0: {" in said["error"]
        assert "'step': 2" in said["error"]
