"""A parity run in three places: prepared here, run on another machine, judged here."""
