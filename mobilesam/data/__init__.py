"""Photos with masks: folders with a manifest, COCO files, scikit-image's sample photos."""
