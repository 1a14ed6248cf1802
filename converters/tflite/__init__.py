"""Target ``tflite``: ``.tflite`` files by litert-torch and ai-edge-quantizer."""
