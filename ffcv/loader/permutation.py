"""Permutations that give any of their elements directly, without an array of all of them.

A :class:`KeyedPermutation` takes the place of a shuffled array: what stands at some places is
computed from a key, for those places alone. So an order of a billion samples costs no memory, and
can be entered anywhere.

Everything here is whole-number arithmetic with numbers of 64 bits, so that a key gives the same on
every machine and with every version of NumPy.

Example:
    >>> import numpy as np
    >>> permutation = KeyedPermutation(10**15, order_key(seed=1, epoch=0, purpose="example"))
    >>> permutation.at(np.array([0, 1, 999_999_999_999_999]))
    array([851283133957625, 797492670417010, 418821054719714])
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KeyedPermutation", "below", "bits", "order_key", "permuted"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LOW_32, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)

_ROUNDS = 8

_SHUFFLED = 4096
"""Up to this size, sorting random numbers costs little, and a network of so few pairs shows, in
thousands of epochs, that it is one."""

_TABULATED = 1 << 16
"""Halves up to this size have their round functions in tables."""

_BLOCK = 8192
"""Places that are computed at a time: what is computed of them stays in the processor's cache."""


def order_key(seed: int, epoch: int, purpose: str) -> int:
    """A key of 128 bits, as good as independent of that for any other seed, epoch or purpose.

    Args:
        seed: the loader's, from 0 on.
        epoch: its number, from 0 on.
        purpose: what is drawn, so that two things which the same epoch draws do not go together.
    """
    text = f"{seed} {epoch} {purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def bits(key: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 random bits for each position, those of :mod:`ffcv.kernels.random` for whole arrays.

    Args:
        key: of which the lower 64 bits count.
        positions: from 0 on, of any shape.
    """
    state: NDArray[np.uint64] = positions.astype(np.uint64)
    state += np.uint64(1)
    state *= _GAMMA
    state += np.uint64(key & 0xFFFFFFFFFFFFFFFF)
    state ^= state >> np.uint64(30)
    state *= _FIRST
    state ^= state >> np.uint64(27)
    state *= _SECOND
    state ^= state >> np.uint64(31)
    return state


def below(limit: int, drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Random bits as whole numbers below a limit of at most 2**62, each as likely as the others.

    It is the upper half of the product with the limit (Lemire, "Fast random integer generation in
    an interval", 2019), whose bias is below ``limit / 2**64``.
    """
    high, low = np.uint64(limit >> 32), np.uint64(limit & 0xFFFFFFFF)
    above, under = drawn >> _32, drawn & _LOW_32
    middle = above * low
    carried = ((under * low) >> _32) + (middle & _LOW_32) + under * high
    upper: NDArray[np.uint64] = (middle >> _32) + (carried >> _32) + above * high
    return upper.astype(np.int64)


class KeyedPermutation:
    """A random permutation of ``range(size)``, fixed by a key.

    It is a Feistel network of eight rounds over pairs ``(left, right)``: in turns, a random
    function of one half is added to the other. Left halves are numbers of k bits, right halves
    those below ``ceil(size / 2**k)``, with ``2**k`` near the square root of the size. So there are
    hardly more pairs than places, and where the network leads to a pair that is no place, it is
    applied again until it gives one, which happens to about one place in ``sqrt(size)``.

    Four rounds with random functions cannot be told from a random permutation by few of its
    elements (Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom
    functions", 1988; for halves of two sizes and other additions, and for applying it again, Black
    and Rogaway, "Ciphers with arbitrary finite domains", 2002). An epoch however shows all
    elements. From six rounds on, no attack is known that needs no more than those (Patarin,
    "Generic attacks on Feistel schemes", 2001), and eight leave a margin. What statistics show of
    networks and of shuffled arrays stands in ``docs/orders.md``.

    Since the halves are so small, the round functions are tables, which take some kilobytes for a
    million places and 2 MB for a billion; above 2**32 places they are computed where they are
    needed. Up to 4096 places, the permutation is that which sorts random numbers, so that with few
    places all permutations are equally frequent, odd ones too.

    Args:
        size: how many places there are, 0 to 2**62.
        key: 128 bits, see :func:`order_key`.
        rounds: of the network, 1 to 8; fewer are for statistics about them.

    Raises:
        ValueError: the size or the key is out of its range.
    """

    def __init__(self, size: int, key: int, rounds: int = _ROUNDS) -> None:
        if not 0 <= size <= 1 << 62:
            raise ValueError(f"size: expected 0 to 2**62 places, got {size}")
        self.size = size
        digest = hashlib.blake2b(key.to_bytes(16, "little"), digest_size=8 * rounds).digest()
        self._keys = np.frombuffer(digest, "<u8").tolist()
        self._shuffled = None
        if size <= _SHUFFLED:
            drawn = bits(self._keys[0], np.arange(size))
            self._shuffled = np.argsort(drawn, kind="stable").astype(np.int64)
            return
        self._width = (size - 1).bit_length() // 2
        self._lefts = 1 << self._width
        self._rights = -(-size // self._lefts)
        is_tabulated = max(self._lefts, self._rights) <= _TABULATED
        self._tables = [self._table(number) for number in range(rounds)] if is_tabulated else None

    def __len__(self) -> int:
        """How many places there are."""
        return self.size

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What stands at some places.

        Args:
            places: of any shape, each from 0 on and below the size. Some thousand at a time cost
                about 15 ns each, single ones 100 µs.

        Returns:
            Numbers from 0 on and below the size, in the shape of ``places``: two of them are equal
            only where the places are.
        """
        if self._shuffled is not None:
            return self._shuffled[places]
        given = np.ascontiguousarray(places, np.int64).reshape(-1)
        found = np.empty_like(given)
        self._apply(given, found)
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            again = found[outside]
            self._apply(again, again)
            found[outside] = again
            outside = outside[again >= self.size]
        return found.reshape(np.shape(places))

    def _apply(self, given: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Put numbers of pairs through the network, a block at a time; both may be one array."""
        scratch = np.empty((3, min(len(given), _BLOCK)), np.int64)
        for start in range(0, len(given), _BLOCK):
            block = given[start : start + _BLOCK]
            left, right, spare = scratch[:, : len(block)]
            self._apply_to_block(block, left, right, spare)
            np.left_shift(right, self._width, out=right)
            np.bitwise_or(left, right, out=found[start : start + _BLOCK])

    def _apply_to_block(
        self,
        block: NDArray[np.int64],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        spare: NDArray[np.int64],
    ) -> None:
        np.bitwise_and(block, self._lefts - 1, out=left)
        np.right_shift(block, self._width, out=right)
        for number in range(len(self._keys)):
            if number % 2 == 0:
                self._random_function(number, right, spare)
                np.bitwise_xor(left, spare, out=left)
                continue
            self._random_function(number, left, spare)
            np.add(right, spare, out=right)
            # Modulo their number: of the sum and what is less by it, the smaller is the one that
            # is not negative, since negative numbers are the largest ones without a sign.
            np.subtract(right, self._rights, out=spare)
            unsigned = right.view(np.uint64)
            np.minimum(unsigned, spare.view(np.uint64), out=unsigned)

    def _random_function(
        self, number: int, half: NDArray[np.int64], out: NDArray[np.int64]
    ) -> None:
        """The function of one round, of one half; what is below the number of the other."""
        if self._tables is None:
            out[:] = self._computed(number, half)
        else:
            # Without a mode, NumPy checks all of them first and takes them in a buffer of its own.
            np.take(self._tables[number], half, out=out, mode="clip")

    def _computed(self, number: int, half: NDArray[np.int64]) -> NDArray[np.int64]:
        limit = self._rights if number % 2 else self._lefts
        return below(limit, bits(self._keys[number], half))

    def _table(self, number: int) -> NDArray[np.int64]:
        halves = self._lefts if number % 2 else self._rights
        return self._computed(number, np.arange(halves))


@functools.lru_cache(maxsize=64)
def permuted(size: int, seed: int, epoch: int, purpose: str) -> KeyedPermutation:
    """The permutation that belongs to a seed, an epoch and a purpose; the latest ones are kept.

    Args:
        size: how many places it has.
        seed: see :func:`order_key`, like the others.
        epoch: the epoch.
        purpose: the purpose.
    """
    return KeyedPermutation(size, order_key(seed, epoch, purpose))
