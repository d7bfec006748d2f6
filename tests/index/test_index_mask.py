from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hivlp.index.mask import RowMask

ROWS = st.lists(st.integers(-3, 45), max_size=60)


@given(
    count=st.integers(0, 40),
    gone=st.sets(st.integers(0, 39)),
    allowed=st.none() | ROWS,
    left_out=st.lists(st.integers(0, 45), max_size=9),
)
def test_a_mask_is_the_set_of_its_rows(count, gone, allowed, left_out):
    deleted = sorted(row for row in gone if row < count)
    mask = RowMask(count, np.array(deleted, np.int64))
    expected = set(range(count)) - set(deleted)
    if allowed is not None:
        mask = mask.only(np.array(allowed, np.int64))
        expected &= set(allowed)
    mask = mask.without(np.array(left_out, np.int64))
    expected -= set(left_out)
    assert mask.filtered == (allowed is not None)
    assert mask.live == len(expected)
    assert mask.live_rows().tolist() == sorted(expected)
    assert mask.hidden_rows().tolist() == sorted(set(range(count)) - expected)
    bits = np.unpackbits(mask.bits(), bitorder="little")[:count]
    assert np.flatnonzero(bits).tolist() == sorted(expected)


def test_narrowing_twice_keeps_the_deletions_only():
    mask = RowMask(10, np.array([3]))
    assert mask.only(np.array([2, 3, 4])).only(np.array([4, 5])).live_rows().tolist() == [4, 5]
