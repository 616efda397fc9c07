"""The errors a user can cause or cure: one class a kind of cause, one sentence each: the thing, what was found, what to do."""


class EspressoError(Exception):
    """Base of every error that is the user's to cure; the command line prints its one sentence and exits with 2."""


class MediaError(EspressoError):
    """An image or video that cannot be opened, probed or decoded."""


class ModelError(EspressoError):
    """A model, adapter or server that is missing, unreachable or answers with nonsense."""


class ServerDownError(ModelError):
    """A server that does not answer at all: no question is at fault, and none can be asked until it is back."""


class ProfileError(EspressoError):
    """A profile that does not exist or says something impossible."""


class DataError(EspressoError):
    """A file of questions, answers, truth or configuration that does not hold what it should."""


class QuestionError(EspressoError):
    """A question that cannot be asked: empty, without visuals, with one option."""
