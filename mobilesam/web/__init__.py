"""The page that runs bundles in a browser: built from ``apps/web``, written to a folder, served."""
