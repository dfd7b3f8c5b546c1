"""The metrics by id: how they are called, which way is better, how they are written. The formulas: `accuracy/`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    label: str
    digits: int
    is_higher_better: bool
    unit: str = ""
    of_classes: bool = False  # measured for each class; without one it is the macro mean


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", 4, True, of_classes=True),
    "iou": Metric("IoU", 4, True, of_classes=True),
    "hd95": Metric("HD95", 2, False, "px", of_classes=True),
    "accuracy": Metric("pixel accuracy", 4, True),
    "f_beta": Metric("F-beta (β² = 0.3)", 4, True),
    "mae": Metric("MAE", 4, False),
    "ber": Metric("BER", 2, False, "%"),
    "agreement": Metric("same pixels as the reference", 5, True),
    "band_agreement": Metric("same near boundaries", 5, True),
}
AGREEMENTS = ("agreement", "band_agreement")  # with the reference, not with a truth; the reference's own are 1


@dataclass(frozen=True)
class Key:
    """`polyp:dice/grey` taken apart."""

    text: str
    head: str  # empty: the only one, or the one whose masks there are
    metric: str  # id in `METRICS`
    class_name: str  # empty: all classes

    @property
    def label(self) -> str:
        """In words, without the class."""
        label = METRICS[self.metric].label
        return f"{label}, {self.head}" if self.head else label

    @property
    def label_with_unit(self) -> str:
        unit = METRICS[self.metric].unit
        return f"{self.label} {unit}" if unit else self.label

    @property
    def full_label(self) -> str:
        """With unit and class."""
        return f"{self.label_with_unit}, {self.class_name}" if self.class_name else self.label_with_unit


def parse_key(text: str) -> Key:
    """Class names are the user's and may hold anything, `:` and `/` as well; names of heads and metrics do not."""
    before, _, class_name = text.partition("/")
    head, _, metric = before.rpartition(":")
    return Key(text, head, metric, class_name)
