"""What a search found, as it is stored: every plan that was measured, with every sample."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from segdino_deploy.bundle import Bundle

SCHEMA_VERSION = 1


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loss(Entry):
    """What a model loses against the fp32 model on held-out images."""

    changed_percent: float  # pixels whose class changed, of all; worst head
    changed_in_band_percent: float  # the same of the pixels near a boundary
    dice: float | None = None  # against the truth; None without masks
    dice_points: float | None = None  # how much lower than fp32's, in points (0.01)

    @property
    def drop(self) -> float:
        """What `--max-drop` limits: Dice points where there are masks, else percent of changed pixels."""
        return self.changed_percent if self.dice_points is None else self.dice_points

    def above(self, base: Loss) -> Loss:
        """What is lost more than `base` loses, by pixels; never less than nothing."""
        return self.model_copy(
            update={
                "changed_percent": max(0.0, self.changed_percent - base.changed_percent),
                "changed_in_band_percent": max(0.0, self.changed_in_band_percent - base.changed_in_band_percent),
            }
        )


class Sensitivity(Entry):
    """One group alone in int8: its loss above that of a model with nothing in int8."""

    group: str
    loss: Loss
    saved: float  # by int8: milliseconds, or multiply-adds where nothing can be timed


class Point(Entry):
    """One measured model: a plan, or another precision beside it."""

    name: str
    floats: list[str] = []  # groups in fp32
    loss: Loss
    samples_ms: list[float] = []  # empty where nothing can be timed
    median_ms: float | None = None
    meets_budget: bool
    is_plan: bool = True


class SearchResult(Entry):
    schema_version: int = SCHEMA_VERSION
    backend: str
    max_drop: float
    drop_unit: str  # "Dice points" or "% of pixels changed"
    held_out_images: int
    also_calibrated_on: int  # of them
    inference_precision: str | None
    lowering: list[str]
    groups: list[str]
    sensitivities: list[Sensitivity]
    points: list[Point]
    chosen: str | None  # name of a point; None: no plan meets the budget
    best: str  # the plan with the least drop
    recommendation: str
    unjudged_heads: list[str] = []  # of several heads those that the budget does not limit

    def point(self, name: str) -> Point:
        return next(point for point in self.points if point.name == name)


def summary(search: SearchResult) -> dict[str, float | str | int]:
    """What the engine's receipt says of the search."""
    assert search.chosen is not None
    loss = search.point(search.chosen).loss
    found: dict[str, float | str | int] = {
        "max_drop": search.max_drop,
        "unit": search.drop_unit,
        "drop": loss.drop,
        "changed_percent": loss.changed_percent,
        "changed_in_band_percent": loss.changed_in_band_percent,
        "held_out_images": search.held_out_images,
        "plan": search.chosen,
        "recommendation": search.recommendation,
    }
    return found


def read_search(bundle: Bundle, name: str) -> SearchResult:
    """The stored search of an engine, by its name."""
    return SearchResult.model_validate_json(bundle.file(f"report/{name}.json").read_bytes())
