"""Target ``coreml``: ``.mlpackage`` files by coremltools."""
