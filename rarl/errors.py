"""Exceptions whose message is written for the user."""


class RarlError(Exception):
    """Something the user can mend; `str(error)` is one sentence that says what to do.

    The command line prints it and exits with 2; the app shows it and goes on serving.
    """


class ArgumentError(RarlError):
    """An argument of the command line that cannot be used."""


class SettingError(RarlError):
    """An environment variable that cannot be used."""


class ScanError(RarlError):
    """A file that cannot be opened as a scan.

    Attributes:
        kind: what the file is, in a few words, for a list of the files that were left out.
    """

    def __init__(self, sentence: str = "", kind: str = "a damaged file") -> None:
        super().__init__(sentence)
        self.kind = kind


class PacsError(RarlError):
    """A PACS that cannot be asked, or has not what is wanted."""


class DataError(RarlError):
    """A dataset that is missing, malformed or not laid out as expected."""


class ModelError(RarlError):
    """A model, adapter or processor that cannot be loaded or does not fit its base."""


class UnreachableError(ModelError):
    """A server that does not answer now; the same thing can be tried again later."""


class QuestionError(RarlError):
    """A question that cannot be asked (empty, too long)."""


class ReviewError(RarlError):
    """A flag or case that cannot be stored or found."""


class StoreError(ReviewError):
    """The review store cannot be used now; the same thing can be sent again later."""
