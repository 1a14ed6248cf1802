"""Programs that exercise each op, with independent answers: a file for each family of ops."""
