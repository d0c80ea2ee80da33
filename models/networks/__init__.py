"""The torch definitions, each network from top to bottom in one file, and their export to ONNX."""
