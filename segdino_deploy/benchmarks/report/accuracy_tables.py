"""Accuracy as tables: means, changes against the reference with their intervals, classes, single images."""

from __future__ import annotations

from segdino_deploy.benchmarks.metrics import AGREEMENTS, METRICS, Key
from segdino_deploy.benchmarks.report.keys import class_keys, mean_keys
from segdino_deploy.benchmarks.report.table import Column, Table, text_cell
from segdino_deploy.benchmarks.report.wording import change_cell, mean_cell, number_cell, plural
from segdino_deploy.benchmarks.result import BenchResult, MetricSummary, Row, WorstCase
from segdino_deploy.benchmarks.statistics import ENOUGH_IMAGES, MIN_IMAGES

ENGINE = Column("engine", is_number=False)
FLAGS = (
    "Worse and better stand where the interval does not hold zero; of twenty intervals of engines that change nothing, "
    "one is expected to miss it by chance."
)
FEW = (
    f"Intervals of fewer than {ENOUGH_IMAGES} images are too narrow, and of fewer than {MIN_IMAGES} there is none: so "
    "few images cannot tell a change from chance."
)
SCORED_AT = (
    "Masks are compared at the model's size, not the files': HD95 is in pixels of the model's input. A class that is "
    "in neither mask of an image counts as found there: Dice and IoU 1, HD95 0, in the mean over the classes too."
)


def accuracy_tables(result: BenchResult) -> list[Table]:
    """None where no images were named."""
    if result.data is None or not mean_keys(result):
        return []
    tables = [means_table(result)]
    if len(result.rows) > 1:
        tables.append(changes_table(result))
    return [*tables, classes_table(result)] if class_keys(result) else tables


def means_table(result: BenchResult) -> Table:
    keys = mean_keys(result)
    images = len(result.data.images) if result.data is not None else 0
    several = result.data is not None and len(result.data.class_names) > 1
    lower = dict.fromkeys(METRICS[key.metric].label for key in keys if not METRICS[key.metric].is_higher_better)
    note = f"Means over {plural(images, 'image')}"
    note += "; of Dice, IoU and HD95 the mean over the classes of each image first. " if several else ". "
    note += "Left out: images on which a metric is infinite or not defined."
    note += f" Lower is better: {', '.join(lower)}." if lower else ""
    note += f" {SCORED_AT}" if any(key.metric == "dice" for key in keys) else ""
    return Table(
        "means",
        "Means",
        [ENGINE, *(Column(key.label_with_unit) for key in keys)],
        [[text_cell(row.name), *(mean_cell(_summary(row, key), key) for key in keys)] for row in result.rows],
        note,
    )


def changes_table(result: BenchResult) -> Table:
    keys = mean_keys(result)
    rows = [row for row in result.rows if row.name != result.reference]
    return Table(
        "changes",
        f"Change against {result.reference}",
        [ENGINE, *(Column(key.label_with_unit) for key in keys)],
        [[text_cell(row.name), *(change_cell(_summary(row, key), key) for key in keys)] for row in rows],
        "Engine minus reference, mean over the images where both have the metric, [95% interval of a paired "
        f"bootstrap over the images]. {FEW}"
        + (f" {FLAGS}" if any(key.metric not in AGREEMENTS for key in keys) else ""),
    )


def classes_table(result: BenchResult) -> Table:
    """A row for each class and contestant, a mean and a change for each metric of classes."""
    keys = class_keys(result)
    names = list(dict.fromkeys(key.class_name for key in keys))
    columns = [ENGINE, Column("class", is_number=False)]
    kinds = list(dict.fromkeys((key.head, key.metric) for key in keys))
    by_place = {(key.head, key.metric, key.class_name): key for key in keys}
    for head, metric in kinds:
        key = Key("", head, metric, "")
        columns += [Column(key.label_with_unit), Column(f"change of {key.label_with_unit}")]
    rows = []
    for name in names:
        for row in result.rows:
            cells = [text_cell(row.name), text_cell(name)]
            for head, metric in kinds:
                found = by_place.get((head, metric, name))
                summary = None if found is None else _summary(row, found)
                key = found or Key("", head, metric, name)
                change = None if row.name == result.reference else summary
                cells += [mean_cell(summary, key), change_cell(change, key)]
            rows.append(cells)
    return Table("classes", "Classes", columns, rows)


def case_table(case: WorstCase, row: Row, result: BenchResult) -> Table:
    """One image, reference above engine: all metrics over the classes, and Dice of each class."""
    keys = [key for key in (*mean_keys(result), *class_keys(result)) if key.text in case.metrics]
    shown = [key for key in keys if not key.class_name or key.metric == "dice"]
    return Table(
        "case",
        case.image,
        [ENGINE, *(Column(key.full_label) for key in shown)],
        [
            [text_cell(name), *(number_cell(values.get(key.text), METRICS[key.metric].digits) for key in shown)]
            for name, values in ((result.reference, case.reference_metrics), (row.name, case.metrics))
        ],
        sorts=False,
    )


def _summary(row: Row, key: Key) -> MetricSummary | None:
    return None if row.accuracy is None else row.accuracy.summary.get(key.text)
