"""The words of a report, for whoever signs it."""

from __future__ import annotations

from segdino_deploy.benchmarks.accuracy.agreement import BAND_PX
from segdino_deploy.benchmarks.statistics import ENOUGH_IMAGES, MIN_IMAGES, MIN_ROUNDS

GLOSSARY = {
    "engine only": "the engine alone: input bound in its memory, outputs left there",
    "with copies": "from arrays in host memory to arrays in host memory: what a program sees that has its images",
    "file to mask": "one image, from reading its file to its mask at the source's size",
    "(C++)": "the engine's file in the C++ library, in a process of its own, which takes its times itself",
    "p50, p90, p95, p99": "half, 90%, 95% and 99% of the samples are not slower",
    "x reference": "times as fast as the reference: the median over the rounds, in each of which all take turns",
    "interval": "95% of the bootstrap's repeats lie in it: these samples do not rule out what lies between its ends; "
    f"too narrow for fewer than {ENOUGH_IMAGES} images, and none for fewer than {MIN_IMAGES} images or {MIN_ROUNDS} "
    "rounds",
    "peak MiB": "the most memory that a process of its own held which opened the engine and ran it",
    "Dice, IoU": "overlap of mask and truth, of each image, 1 at best; a Dice point is 0.01",
    "HD95": "95th percentile of the distances between the borders of mask and truth, pixels at the model's size; "
    "infinite where exactly one of the two is empty",
    "F-beta": "precision and recall of the foreground in one number, beta squared 0.3, 1 at best",
    "MAE": "mean distance of the probability from the truth, 0 at best",
    "BER": "mean share of wrong pixels in foreground and background, %, 0 at best",
    "same pixels": "share of all pixels, or of those near a boundary, whose class is the reference's; near: within "
    f"{BAND_PX} pixels of a change of class in the reference's mask",
}
