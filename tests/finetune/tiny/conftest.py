"""A tokenizer for all tests."""

import pytest


@pytest.fixture(scope="session")
def processor(make_tiny_config, tmp_path_factory):
    from finetune.tiny import build

    return build.build_processor(make_tiny_config(tmp_path_factory.mktemp("build")))
