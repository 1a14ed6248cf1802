"""The modules of MobileSAM, one a file, and :func:`~mobilesam.model.build.load_model`."""
