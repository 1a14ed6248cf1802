"""The points decoder: a second form of the decoder, for many single clicks about one photo."""
