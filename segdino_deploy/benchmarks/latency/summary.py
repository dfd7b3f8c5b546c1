"""Latency percentiles of one contestant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, model_validator


class Latency(BaseModel):
    """Milliseconds, per image where the field says nothing else; every sample is kept."""

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    samples_ms: list[float]

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, data: Any) -> Any:
        """Runs stored before 95% was asked for have the samples that it follows from."""
        if isinstance(data, dict) and "p95_ms" not in data and data.get("samples_ms"):
            return {**data, "p95_ms": float(np.percentile(data["samples_ms"], 95))}
        return data


def summarise(samples_ms: Sequence[float], images_per_run: int) -> Latency:
    """Percentiles per image (linear interpolation) of one contestant's samples."""
    per_image = np.array(samples_ms) / images_per_run
    p50, p90, p95, p99 = (float(value) for value in np.percentile(per_image, [50, 90, 95, 99]))
    samples = [round(float(value), 4) for value in per_image]
    return Latency(p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99, samples_ms=samples)
