"""From a checkpoint to model.onnx: folding, tracing, verification."""
