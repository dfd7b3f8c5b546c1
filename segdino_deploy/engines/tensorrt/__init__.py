"""What the builder and the runner of TensorRT and TensorRT-RTX share."""
