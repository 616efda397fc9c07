"""Error classes: one base class for the command line, and pickling for worker processes."""

import pickle

import pytest

from espresso import errors

CLASSES = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_the_base_class_and_survives_pickling(error):
    assert issubclass(error, errors.EspressoError)
    copy = pickle.loads(pickle.dumps(error("clip.mp4: no such file.")))
    assert (type(copy), str(copy)) == (error, "clip.mp4: no such file.")


def test_a_server_that_is_down_is_a_model_error():
    assert issubclass(errors.ServerDownError, errors.ModelError)
