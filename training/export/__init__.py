"""A finished model: evaluation, ONNX and int8."""
