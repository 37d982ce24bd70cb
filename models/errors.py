"""The error that means: the input or the configuration is wrong, and here is what to do."""


class InputError(ValueError):
    """Something that a user gave cannot be used; the message names it and says what to do.

    The command line prints the message without a traceback and exits with status 2.
    """


class DivergedError(InputError):
    """A training never had a finite validation loss: its settings cannot be trained."""
