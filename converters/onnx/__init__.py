"""Target ``onnx``: ``.onnx`` files by torch.onnx and ONNX Runtime's quantizer."""
