"""What stands behind the numbers: layers, precision receipts, environment and data, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segdino_deploy.benchmarks.report.sentences import model_line
from segdino_deploy.benchmarks.report.table import Cell, Column, Table, text_cell
from segdino_deploy.benchmarks.report.wording import plural
from segdino_deploy.benchmarks.result import BenchResult, LayerCosine, Layers, Row

MOST_LAYERS = 12  # of the table; all are in report.json
MOST_LINES = 20  # of one list in a receipt


def layers_table(row: Row, layers: Layers) -> Table:
    """The layers with the largest errors of their own, in the order of the graph."""
    numbered = list(enumerate(layers.layers, start=1))
    shown = sorted(sorted(numbered, key=lambda entry: -entry[1].own_error)[:MOST_LAYERS])
    reference = "model.onnx"
    if row.precision == "int8":
        reference += ", centred and smoothed as it was before it was quantized"
    columns = [Column("place"), Column("operator", is_number=False)]
    columns += [Column("own error"), Column("relative error"), Column("cosine")]
    return Table(
        "layers",
        row.name,
        [Column("layer", is_number=False), *columns],
        [_layer(index, layer, layer.name == layers.departs_most) for index, layer in shown],
        f"{layers.file} against {reference}, both in ONNX Runtime, on {plural(layers.images, 'image')}: of "
        f"{plural(len(layers.layers), 'layer')} that both have the {len(shown)} with the largest error of their own, "
        "in the order of the graph. Own error: of a layer that is given the reference's inputs. Relative error: all "
        "that came about up to there. All layers are in report.json.",
    )


def not_compared(result: BenchResult) -> dict[str, str]:
    """Engines that could not be compared layer by layer, though that was asked for, with the reason."""
    return {row.name: row.no_layers for row in result.rows if row.no_layers}


def departure(layers: Layers) -> str:
    """One sentence that names the layer to look at."""
    found = next((layer for layer in layers.layers if layer.name == layers.departs_most), None)
    if found is None:
        return "No layer departs from the reference."
    return (
        f"Departs most: {found.name} ({found.operator}). Given the reference's inputs it is off by "
        f"{_error(found.own_error)}, more than any other layer; up to there {_error(found.relative_error)} came about, "
        f"cosine {found.cosine:.6f}."
    )


def receipt_table(row: Row) -> Table:
    """What the engine's builder counted, read from its types: facts in the builder's own words."""
    facts = [("backend", row.backend), ("device", row.device), ("precision", row.precision)]
    facts += [("computes in, outside int8 parts", row.computes_in)] if row.computes_in else []
    recorded = list(receipt_lines(row.receipt))
    facts += recorded or [("receipt", "the builder records nothing")]
    return _facts("receipt", row.name, facts)


def receipt_lines(receipt: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"weight_products": {"fp16": 74}}` as `weight products`, `fp16 74`: one line per list entry or group."""
    for key, value in receipt.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping) and any(isinstance(entry, Mapping | list) for entry in value.values()):
            yield from receipt_lines(value, f"{name}, ")
        elif isinstance(value, Mapping):
            yield name, ", ".join(f"{word} {_scalar(entry)}" for word, entry in value.items()) or "none"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from ((name, entry) for entry in _entries(value))
        else:
            yield name, _scalar(value)


def versions(result: BenchResult) -> str:
    known = {"segdino-deploy": result.tool_version} | result.environment.versions
    return ", ".join(f"{name} {number}" for name, number in sorted(known.items()))


def environment_table(result: BenchResult) -> Table:
    environment, data = result.environment, result.data
    facts = [
        ("model", model_line(result)),
        ("bundle", result.bundle),
        *(("checkpoint", f"{head.checkpoint.name}, sha256 {head.checkpoint.sha256}") for head in result.model.heads),
        ("machine", environment.machine),
        ("system", environment.system),
        ("threads", str(environment.threads)),
        ("devices", ", ".join(dict.fromkeys(row.device for row in result.rows))),
        ("versions", versions(result)),
        ("measured", f"{result.created}; {result.rounds} interleaved rounds after {result.warmup} to warm up"),
        ("batch", str(result.batch)),
    ]
    if environment.others_busy is not None:
        facts.append(("processors that others kept busy meanwhile", f"{environment.others_busy:.2f}"))
    if data is None:
        facts.append(("data", "the canary: no images were named, accuracy was not measured"))
    else:
        facts.append(("data", f"{data.directory}: {plural(len(data.images), 'image')}, {data.layout}"))
        facts.append(("sha256 of the data", data.sha256))
        if data.has_masks:
            scored = f"head {data.scored_head}: " if data.scored_head else ""
            facts.append(("scored classes", scored + ", ".join(data.class_names)))
            if len(data.class_names) == 1:
                values = ", ".join(map(str, data.foreground)) if data.foreground else "above 127"
                facts.append(("foreground in the masks", values))
        else:
            facts.append(("truth", "none: engines are compared with the reference only"))
    return _facts("environment", "Environment", facts)


def _layer(index: int, layer: LayerCosine, departs_most: bool) -> list[Cell]:
    return [
        Cell(layer.name, layer.name, flag="departs most" if departs_most else ""),
        Cell(str(index), index),
        text_cell(layer.operator),
        Cell(_error(layer.own_error), layer.own_error),
        Cell(_error(layer.relative_error), layer.relative_error),
        Cell(f"{layer.cosine:.6f}", layer.cosine),
    ]


def _error(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-3 or value == 0 else f"{value:.1e}"


def _facts(name: str, title: str, facts: Sequence[tuple[str, str]]) -> Table:
    columns = (Column("what", is_number=False), Column("", is_number=False))
    return Table(name, title, columns, [[text_cell(what), text_cell(value)] for what, value in facts], sorts=False)


def _entries(values: Sequence[object]) -> list[str]:
    """Numbers in one line; words, such as warnings, in one line each."""
    shown = [_scalar(value) for value in values[:MOST_LINES]]
    if len(values) > MOST_LINES:
        shown.append(f"and {len(values) - MOST_LINES} more, in report.json")
    if not any(isinstance(value, str) for value in values):
        return [", ".join(shown) or "none"]
    return shown


def _scalar(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
