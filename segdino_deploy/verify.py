"""The canary on this machine: model.onnx and every engine of a bundle that can run here."""

from __future__ import annotations

from dataclasses import dataclass

from segdino_deploy.benchmarks.contestants import ONNX_REFERENCE, open_contestant
from segdino_deploy.bundle import Bundle
from segdino_deploy.canary import canary_for
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.evidence import check_heads
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import CanaryRecord
from segdino_deploy.progress import OnStep, ignore


@dataclass(frozen=True)
class Verdict:
    """One model's answer; `record` is None where it could not run here, and `reason` says why."""

    name: str
    precision: str
    record: CanaryRecord | None
    reason: str = ""

    @property
    def failed(self) -> bool:
        return self.record is not None and not self.record.passed


def verify_bundle(bundle: Bundle, on_step: OnStep = ignore, only: str | None = None) -> list[Verdict]:
    """Runs the canary on model.onnx and every engine, or on one engine. Hashes were compared when it was opened.

    An engine whose backend is missing is reported, not failed; one that does not open or run has failed.
    """
    card = bundle.manifest.model
    sources = {name: engine.source for name, engine in bundle.manifest.engines.items()}
    names = {ONNX_REFERENCE: bundle.manifest.onnx["fp32"].precision}
    names |= {name: engine.precision for name, engine in bundle.manifest.engines.items()}
    verdicts = []
    for name, precision in names.items():
        if only not in (None, name):
            continue
        canary = canary_for(bundle, sources.get(name, name))
        try:
            with open_contestant(bundle, name) as runner:
                on_step(f"running the canary on {name}")
                outputs = runner.run({INPUT: canary.image})
            verdicts.append(Verdict(name, precision, check_heads(canary.logits, outputs, card.thresholds, precision)))
        except MissingComponent as error:
            verdicts.append(Verdict(name, precision, None, str(error)))
        except SegdinoDeployError as error:
            record = CanaryRecord(passed=False, mask_agreement=0.0, worst_margin=0.0, detail=str(error))
            verdicts.append(Verdict(name, precision, record))
    return verdicts
