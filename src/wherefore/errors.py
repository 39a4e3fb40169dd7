"""Error, in a module of its own so that it can be caught without importing torch."""


class Error(ValueError):
    """Something the caller can mend; the message is one sentence that says what to do."""


class ImageError(Error):
    """One image cannot be explained; what was asked is right, and others may go through."""


class NothingSeen(ImageError):
    """A detector reports no box of the kind that was asked for; ``what`` says which, in half a sentence."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}; {advice}.")
        self.what = what


class NotReached(Error):
    """The target does not depend on the layer that is explained."""
