"""Target ``executorch``: ``.pte`` files lowered to XNNPACK."""
