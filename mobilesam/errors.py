"""Errors a user can act on. Each carries one sentence: what was wrong, and what would be right."""


class MobileSAMError(Exception):
    """Base of every error that bad input causes. The command line prints it and exits with 2."""


class InputError(MobileSAMError, ValueError):
    """An argument has a value that cannot be used."""


class ImageError(InputError):
    """An image could not be read, or is not one that can be segmented."""


class PromptError(InputError):
    """Points, labels, box or mask input do not make a prompt."""


class CheckpointError(InputError):
    """A checkpoint could not be read, or does not fit the model."""


class DownloadError(CheckpointError):
    """A checkpoint could not be downloaded."""


class ImageNotSetError(MobileSAMError, RuntimeError):
    """``predict`` was called before ``set_image``."""


class ExportError(MobileSAMError):
    """A conversion was refused or failed; nothing was written."""


class MissingDependencyError(ExportError):
    """A package or program that this needs is not installed."""


class BundleError(MobileSAMError):
    """A bundle on disk is incomplete, altered, or of another contract."""


class RefusedError(BundleError):
    """A runtime does not take a file at all, such as a delegate that lacks one of its ops.

    Args:
        sentence: what happened.
        what: what the runtime refuses, in a few words, such as an op's name.
    """

    def __init__(self, sentence: str, what: str) -> None:
        super().__init__(sentence)
        self.what = what


class ThresholdError(InputError):
    """A thresholds file is malformed, or has no row for what it should judge."""


def reason_of(error: Exception) -> str:
    """What an error says, in one line without a full stop; its type's name if it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
