"""Every row scored by every query in one pass over the signatures.

Choosing a tenth of a corpus is not a top-10 query: all rows are scored, and the time is that of reading the codes. They
are read once for all queries, in tiles that fit the cache, converted to floating point there and multiplied.

Scores are exact. A query is rounded to whole numbers too, as fine as float32 can add them up without rounding (its
product with any row stays below 2^24), so that every sum is the same in whatever order it is made, on any processor:
equal rows score equal, and the way rows are scored never changes their order.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

_TILE = 1 << 19  # numbers per tile; smaller tiles fit the cache better, but the extra calls cost more
_EXACT = float(1 << 24)


def whole(queries: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """Round queries to whole numbers.

    :param queries: (q, d) float32; :param longest: length of the longest row that they will be multiplied with.
    :returns: (q, d) float32 whole numbers, and (q,) float64 what one unit of each is worth.
    """
    room = max(_EXACT / max(longest, 1.0) - np.sqrt(queries.shape[1]), 1.0)
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    units = np.where(lengths > 0, lengths / room, 1.0)
    return np.rint(queries / units[:, None]).astype(np.float32), units


def scan(rows: np.ndarray, queries: np.ndarray, threads: int, some: np.ndarray | None = None) -> np.ndarray:
    """Multiply rows with all queries.

    :param rows: (n, d) int8 or float32, in memory or mapped; :param queries: (q, d) float32.
    :param some: (m,) which rows; ``None`` for all.
    :returns: (q, n) float32, or (q, m).
    """
    from threadpoolctl import threadpool_limits

    d = rows.shape[1]
    n = len(rows if some is None else some)
    scores = np.empty((n, len(queries)), dtype=np.float32)
    columns = np.ascontiguousarray(queries.T)
    tile = max(1, _TILE // max(d, 1))
    ends = [n * thread // threads for thread in range(threads + 1)]

    def work(start: int, end: int) -> None:
        buffer = np.empty((tile, d), dtype=np.float32)
        for first in range(start, end, tile):
            last = min(first + tile, end)
            part = rows[first:last] if some is None else rows.take(some[first:last], axis=0)
            values = buffer[: len(part)]
            np.copyto(values, part, casting="unsafe")
            np.matmul(values, columns, out=scores[first : first + len(part)])

    with threadpool_limits(1, user_api="blas"):  # or BLAS would start threads of its own in each of ours
        if threads == 1 or n <= tile:
            work(0, n)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, ends[:-1], ends[1:]))
    return np.ascontiguousarray(scores.T)
