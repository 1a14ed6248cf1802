"""The call that users of Ultralytics know: ``SAM(weights or bundle).predict(photos, points=…)``."""
