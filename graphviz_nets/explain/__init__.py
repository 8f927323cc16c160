"""Running models on onnxruntime, and what stands on it."""
