"""Latency percentiles of one contestant."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel


class Latency(BaseModel):
    """Milliseconds per image; every sample is kept."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    samples_ms: list[float]


def summarise(samples_ms: list[float], images_per_run: int) -> Latency:
    """Percentiles per image (linear interpolation) of one contestant's samples."""
    per_image = np.array(samples_ms) / images_per_run
    p50, p90, p99 = (float(value) for value in np.percentile(per_image, [50, 90, 99]))
    return Latency(p50_ms=p50, p90_ms=p90, p99_ms=p99, samples_ms=[round(float(v), 4) for v in per_image])
