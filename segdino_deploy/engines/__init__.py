"""From model.onnx to engines and their results: precision, calibration, build, run."""
