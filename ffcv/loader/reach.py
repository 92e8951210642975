"""How far ahead of its consumer a loader works, within the memory that it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ffcv.errors import ArgumentError, BetonError
from ffcv.loader.memory import MemoryBudget
from ffcv.loader.sizes import in_bytes
from ffcv.storage.read_ahead import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.loader.graph import Graph

__all__ = ["CODE_NBYTES", "Data", "Reach", "data_of", "memory_of", "reach_within"]

CODE_NBYTES = 110_000_000
"""What a budget sets aside for compiled code, for the libraries that a loader brings along, and for
what allocators keep. Measured: 95 MB with JPEG images, less with other data."""

_SPREAD = 1.25
"""So much more than the mean a batch may have to fetch."""


class Reach(NamedTuple):
    """How far ahead a loader works.

    Attributes:
        batches: how many are on their way, or made and not yet asked for.
        window: how far data is read ahead of these.
    """

    batches: int = 1
    window: Window = Window()


class Data(NamedTuple):
    """Bytes of a file that are in memory.

    Attributes:
        tables: its tables, once all samples were used.
        batch: what is fetched for a batch; 0 if compiled code reads for itself.
        sample: what is fetched for a sample at most.
    """

    tables: int = 0
    batch: int = 0
    sample: int = 0


def data_of(
    graph: Graph, tables: int, indices: NDArray[np.int64], batch_size: int, largest: int
) -> Data:
    """How much data a loader has in memory.

    Args:
        graph: what it runs.
        tables: bytes of tables.
        indices: some samples, by which to tell how much a batch has.
        batch_size: of the loader.
        largest: bytes of the largest region.
    """
    if not graph.is_fetched:
        return Data(tables)
    try:
        ranges = graph.byte_ranges(indices)
    except BetonError:  # passes will say so, or leave samples out
        ranges = None
    mean = 0 if ranges is None else int(ranges["nbytes"].sum()) / max(len(indices), 1)
    return Data(tables, int(_SPREAD * mean * batch_size), largest)


def memory_of(graph: Graph, workers: int) -> MemoryBudget:
    """What a loader takes: the batches that it reaches ahead, its user's and one that is made."""
    fetched = graph.reach.window.nbytes if graph.is_fetched else 0
    batches = graph.batch_nbytes() * (graph.reach.batches + 2)
    return MemoryBudget(graph.worker_nbytes() * workers, batches, fetched)


def reach_within(budget: int, graph: Graph, workers: int, batches_ahead: int, data: Data) -> Reach:
    """How far ahead to work.

    First the window of data becomes smaller, down to a batch's, then the number of batches. At last
    data is fetched for single samples when they have their turn.

    Args:
        budget: bytes that the loader may take.
        graph: what it runs.
        workers: how many threads it has.
        batches_ahead: how far it is to work if there is memory for that.
        data: of the file.

    Raises:
        ArgumentError: the budget is too small; the message says what would do.
    """
    fixed = CODE_NBYTES + data.tables + graph.worker_nbytes() * workers
    batch, least = graph.batch_nbytes(), data.sample * workers
    needed = fixed + 3 * batch + least
    if budget < needed:
        raise ArgumentError(
            f"memory_budget: {in_bytes(budget)} are too little for this loader. {needed} bytes "
            f"({in_bytes(needed)}) would do: {in_bytes(fixed)} for compiled code, tables and "
            f"{workers} workers, {in_bytes(batch)} for each of 3 batches, {in_bytes(least)} for "
            "data that is fetched. Smaller batches and fewer workers need less"
        )
    room = budget - fixed - 2 * batch
    ahead = batches_ahead
    if batch:
        ahead = max(1, min(batches_ahead, (room - max(data.batch, least)) // batch))
    nbytes = min(Window().nbytes, room - ahead * batch)
    return Reach(ahead, Window(nbytes=nbytes, least=0) if graph.is_fetched else Window())
