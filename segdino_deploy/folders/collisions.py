"""Results that would overwrite an input or one another, found among millions of names in a few bytes for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import InputError


def refuse_collisions(
    sources: Callable[[], Iterable[str]],
    results: Callable[[], Iterable[tuple[int, str]]],
    source_of: Callable[[int], str],
) -> None:
    """`sources`: the places of all images, in order. `results`: the index of an image, and the place of a result of it.
    Both are asked twice where names may meet; only their hashes, eight bytes each, are kept.

    Raises InputError that names the first two that do.
    """
    hashes_of_results = _sorted_hashes(place for _, place in results())
    twice = hashes_of_results[1:][hashes_of_results[1:] == hashes_of_results[:-1]]
    overwritten = np.intersect1d(_sorted_hashes(sources()), hashes_of_results)
    suspects = {*twice.tolist(), *overwritten.tolist()}
    if not suspects:
        return
    inputs = {place for place in sources() if hash(place) in suspects}
    written: dict[str, int] = {}
    for index, place in results():
        if hash(place) not in suspects:
            continue
        if place in inputs:
            raise InputError(f"{source_of(index)}: its result {place} would overwrite an input; choose another -o")
        if place in written:
            first, second = (next(islice(sources(), one, None)) for one in (written[place], index))
            if first == second:
                raise InputError(f"{source_of(index)}: named twice, or by its folder, too; name it once")
            other = source_of(written[place])
            raise InputError(f"{source_of(index)} and {other} would both be written to {place}; run them apart")
        written[place] = index


def _sorted_hashes(places: Iterable[str]) -> NDArray[np.int64]:
    hashes = np.fromiter((hash(place) for place in places), np.int64)
    hashes.sort()
    return hashes
