"""The peer's own side: NNCF's default post-training quantization of an ONNX model, for transformers.

python peer_script.py MODEL.onnx IMAGES.npy QUANTIZED.xml

Runs in the peer's environment, so it imports nothing of this package. `IMAGES.npy`: uint8 `[N, H, W, 3]`, all of which
are used. Writes OpenVINO IR and, beside it, `QUANTIZED.json`: versions, number of images, seconds.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nncf  # type: ignore[import-not-found, unused-ignore]
import numpy as np
import openvino as ov


def main(onnx: str, images: str, xml: str) -> None:
    started = time.perf_counter()
    batches = [image[None] for image in np.load(images)]  # each [1, H, W, 3]
    quantized = nncf.quantize(
        ov.Core().read_model(onnx),
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    ov.save_model(quantized, xml, compress_to_fp16=False)
    record = {
        "versions": {"nncf": version("nncf"), "openvino": version("openvino")},
        "images": len(batches),
        "seconds": round(time.perf_counter() - started, 2),
    }
    Path(xml).with_suffix(".json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
