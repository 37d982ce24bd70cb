"""The error that means: this model or this image cannot be used, and here is what to do."""


class EdgeError(ValueError):
    """A model folder or an image cannot be used; the message names it and says what to do."""
