"""How MobileSAM becomes Core ML, TFLite, ONNX, ExecuTorch and TorchScript files."""
