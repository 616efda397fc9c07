"""Errors that a user can fix. The message states what failed, why, and how to fix it."""


class EspressoError(Exception):
    """Base class of all errors that a user can fix; the command line exits with code 2."""


class MediaError(EspressoError):
    """An image or video cannot be opened, probed or decoded."""


class ModelError(EspressoError):
    """A model, adapter or server is missing, fails or returns an invalid response."""


class ServerDownError(ModelError):
    """A server does not respond at all. No question can be answered until it is back."""


class ProfileError(EspressoError):
    """A profile does not exist or is invalid."""


class DataError(EspressoError):
    """A file of questions, answers, ground truth or configuration is missing or invalid."""


class QuestionError(EspressoError):
    """A question cannot be asked.

    Its text is empty, it has no visuals or only one option, or the models do not know such visuals.
    """
