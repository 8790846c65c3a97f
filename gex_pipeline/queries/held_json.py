"""Rows that were written as JSON lately: numbers into text is most of the work of an answer."""

from collections.abc import Callable, Hashable

import pyarrow as pa

from gex_pipeline.queries.held import Held
from gex_pipeline.queries.shapes import Shape

HELD_BYTES = 32 * 1024**2
# Held together; of the last rows of today so many are written again at most.
BLOCK_ROWS = 128


class HeldJson:
    """Blocks of rows as JSON, of whatever has rows that stay where they are."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._blocks: Held[tuple[Hashable, int, Shape], pa.Table] = Held(HELD_BYTES)

    def read(
        self, owner: Hashable, shape: Shape, first: int, last: int, rows: Callable[[int, int], pa.Table]
    ) -> pa.Table:
        """Return an owner's rows in a shape that is JSON.

        Args:
            owner: what has the rows; its row of a number is always the same.
            shape: which columns.
            first: the first row's number.
            last: the number after the last row's.
            rows: reads the stored columns of rows from one number to another, fewer where the owner ends.
        """
        if first >= last:
            return shape.empty()
        keys = {block: (owner, block, shape) for block in range(first // BLOCK_ROWS, -(-last // BLOCK_ROWS))}
        found = self._blocks.find(keys.values())
        if missing := [block for block, key in keys.items() if key not in found]:
            begin = missing[0] * BLOCK_ROWS
            written = shape.of(rows(begin, (missing[-1] + 1) * BLOCK_ROWS))
            new = {keys[block]: written.slice(block * BLOCK_ROWS - begin, BLOCK_ROWS) for block in missing}
            self._blocks.keep({key: each for key, each in new.items() if each.num_rows == BLOCK_ROWS})
            found |= new
        return pa.concat_tables(map(found.__getitem__, keys.values())).slice(first % BLOCK_ROWS, last - first)
