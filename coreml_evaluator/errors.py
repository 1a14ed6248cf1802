"""Errors of the evaluator. Each carries one sentence: what was wrong, and what would be right."""


class ProgramError(Exception):
    """A package is missing, damaged, or holds a program that cannot be evaluated."""


class UnknownOpError(ProgramError):
    """A program has an op, or a form of an op, that the evaluator does not know."""


class ProgramInputError(ProgramError, ValueError):
    """An input is missing, unknown, of another shape, or has values that an image cannot have."""
