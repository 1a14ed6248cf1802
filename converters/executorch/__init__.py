"""Target ``executorch``: ``.pte`` files lowered to XNNPACK or to Core ML."""
