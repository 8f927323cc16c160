"""The ONNX-based intermediate representation and the passes over it."""
