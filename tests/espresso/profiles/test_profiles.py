"""Profiles: the shipped ones, the user's own, served ones, and error messages."""

from pathlib import Path

import pytest

from espresso import profiles
from espresso.errors import ProfileError
from espresso.models import OpenAIModel, TransformersModel, connect

ROLE = '[{role}]\nbackend = "transformers"\nmodel = "{model}"\n'
HEAD = 'about = "mine"\ndownload = "none"\nprompts = "general"\nsampling = "uniform-8"\nframe_size = 224\ncore_frames = 4\n'
OWN = HEAD + "".join(ROLE.format(role=role, model="./models/vlm") for role in ("captioner", "selector", "reasoner"))


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "own.toml").write_text(text)
        return tmp_path / "own.toml"

    return write


def test_shipped_profiles_can_be_loaded():
    assert profiles.names() == ["api", "laptop", "paper", "raiv", "smart101", "tiny", "tiny-light"]
    for name in profiles.names():
        profile = profiles.load(name)
        assert profile.name == name
        assert profile.about.endswith(".")
        assert "\n" not in profile.about


def test_tiny_needs_no_download_and_shares_its_vision_model():
    profile = profiles.load("tiny")
    roles = connect(profile)
    assert profile.download == "none"
    assert profile.world_only
    assert not profile.judge_compares
    assert roles.captioner is roles.reasoner is not roles.selector
    assert roles.judge not in (None, roles.reasoner, roles.selector)


def test_model_paths_are_relative_to_the_profile(write, tmp_path):
    profile = profiles.load(write(OWN + 'adapters = { evidence = "./lora" }\n'))
    assert profile.captioner.model == str(tmp_path / "models/vlm")
    assert profile.reasoner.adapters == {"evidence": str(tmp_path / "lora")}
    assert connect(profile).adapters == {"evidence": "evidence"}
    assert isinstance(connect(profile).captioner, TransformersModel)


def test_roles_that_differ_only_in_adapters_share_a_model(write):
    judge = ROLE.format(role="judge", model="./models/vlm") + 'adapters = {{ {} = "./other" }}\n'
    reasoner = 'adapters = { answer = "./lora" }\n'
    roles = connect(profiles.load(write(OWN + reasoner + judge.format("judge"))))
    assert roles.captioner is roles.reasoner is roles.judge
    with pytest.raises(ProfileError, match=r"two roles of .*vlm define different adapters named 'answer'. Rename one"):
        connect(profiles.load(write(OWN + reasoner + judge.format("answer"))))


def test_served_models_have_consecutive_ports(write):
    profile = profiles.load("paper@gpu7:9000")
    assert profile.name == "paper@gpu7:9000"
    assert [(role.model, role.base_url) for role in profile.roles.values()] == [
        ("OpenGVLab/InternVL3-1B-hf", "http://gpu7:9000/v1"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "http://gpu7:9001/v1"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "http://gpu7:9002/v1"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "http://gpu7:9002/v1"),  # the writer is the reasoner's model
    ]
    roles = connect(profile)
    assert isinstance(roles.captioner, OpenAIModel)
    assert roles.reasoner is not roles.captioner


def test_roles_with_the_same_model_share_a_server():
    roles = connect(profiles.load("laptop@gpu7:9000"))
    assert roles.selector is roles.reasoner is not roles.captioner


def test_served_roles_keep_the_options_of_pictures():
    here, served = profiles.load("laptop"), profiles.load("laptop@localhost:8000")
    assert served.captioner.image_options == here.captioner.image_options != here.reasoner.image_options


def test_served_model_has_the_name_of_the_local_one(write, tmp_path):
    more = "context_length = 1000\npicture_tokens = 10\n"
    text = OWN.replace('vlm"\n', f'vlm"\n{more}') + 'adapters = { evidence = "./lora" }\n'
    profile = profiles.load(f"{write(text)}@localhost:8000")
    here = connect(profiles.load(tmp_path / "own.toml"))
    assert {role.model for role in profile.roles.values()} == {here.reasoner.name}
    assert profile.reasoner.adapters["evidence"].startswith("lora@")
    roles = connect(profile)
    assert roles.captioner is roles.selector is roles.reasoner


def test_default_profile_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("ESPRESSO_PROFILE", raising=False)
    assert profiles.load().name == "tiny"
    monkeypatch.setenv("ESPRESSO_PROFILE", "laptop")
    assert profiles.load().name == "laptop"
    assert profiles.load("api").name == "api"


def test_a_loaded_profile_is_returned_as_it_is():
    profile = profiles.load("tiny").model_copy(update={"core_frames": 2})
    assert profiles.load(profile) is profile


def test_at_sign_in_a_path_is_no_address(write, tmp_path):
    (tmp_path / "me@home").mkdir()
    own = write(OWN).rename(tmp_path / "me@home" / "mine@work.toml")
    assert profiles.load(own).name == str(own)


def test_address_does_not_change_api_roles():
    assert profiles.load("api@localhost:8000").reasoner == profiles.load("api").reasoner


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tiny@localhost", "tiny@localhost: invalid address. Use tiny@host:port"),
        ("tiny@:80", "invalid address"),
        ("tinny@localhost:1", "Did you mean tiny"),
    ],
)
def test_invalid_address_is_an_error(address, message):
    with pytest.raises(ProfileError, match=message):
        profiles.load(address)


def test_serving_requires_a_context_length(write):
    with pytest.raises(ProfileError, match=r"context_length is required to serve .*vlm"):
        profiles.load(f"{write(OWN)}@localhost:8000")


def test_api_profile_requires_its_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        ProfileError, match=r"profile api: gpt-4\.1-mini needs an API key. Set the environment variable OPENAI_API_KEY"
    ):
        connect(profiles.load("api"))
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert connect(profiles.load("api")).judge


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tinny",
            "unknown profile 'tinny' (available: api, laptop, paper, raiv, smart101, tiny, tiny-light). Did you mean tiny?",
        ),
        ("", "Use one of these, or the path of a .toml file."),
        ("../tiny", "unknown profile '../tiny'"),
        ("gone.toml", "gone.toml: cannot read the profile (No such file or directory)"),
    ],
)
def test_unknown_profile_is_an_error(name, message):
    with pytest.raises(ProfileError) as caught:
        profiles.load(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about = ", "invalid TOML"),
        (HEAD, "captioner: Field required"),
        (OWN.replace("224", "0"), "frame_size: Input should be greater than 0"),
        (OWN.replace('"transformers"', '"magic"'), "captioner: Input tag 'magic'"),
        (OWN + 'colour = "red"\n', "reasoner.transformers.colour: Extra inputs are not permitted"),
        (HEAD + 'captioner = "x"\n', "captioner: Input should be"),
    ],
)
def test_error_states_what_is_wrong_with_a_profile(write, text, message):
    with pytest.raises(ProfileError) as caught:
        profiles.load(write(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


SERVER = '[{role}]\nbackend = "openai"\nmodel = "m"\nbase_url = "{url}"\ncontext_length = 9000\npicture_tokens = 70\n'


def served_at(url, more=""):
    return HEAD + "".join(SERVER.format(role=role, url=url) + more for role in ("captioner", "selector", "reasoner"))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:8000/v1", "has no scheme; write http://localhost:8000/v1"),
        ("http://localhost:80000/v1", "has the impossible port '80000'"),
        ("http://localhost:8000/v1/chat/completions", "ends in '/chat/completions', which is added to it"),
    ],
)
def test_an_impossible_address_is_named_with_file_and_role(write, url, fault):
    with pytest.raises(ProfileError, match=rf"own\.toml: captioner\.openai\.base_url: the address '{url}' {fault}"):
        profiles.load(write(served_at(url)))


@pytest.mark.parametrize("address", ["localhost:65535", "localhost:0", "a..b:8000"])
def test_an_impossible_address_of_served_models_is_named(address):
    with pytest.raises(ProfileError, match=rf"tiny@{address}: (?:the address|the host)"):
        profiles.load(f"tiny@{address}")


def test_what_a_service_does_not_accept_can_be_configured(write):
    more = 'omit = ["logprobs", "temperature"]\nextra_tokens = 2000\nextra_body = { reasoning_effort = "low" }\n'
    captioner = profiles.load(write(served_at("http://localhost/v1", more))).captioner
    assert (captioner.omit, captioner.extra_tokens) == (("logprobs", "temperature"), 2000)
    assert connect(profiles.load(write(served_at("http://localhost/v1", more)))).captioner.context_length == 7000
    with pytest.raises(ProfileError, match="omit"):
        profiles.load(write(served_at("http://localhost/v1", 'omit = ["messages"]\n')))


def test_served_models_keep_their_extra_tokens(write):
    more = "context_length = 1000\npicture_tokens = 10\nextra_tokens = 100\n"
    text = HEAD + "".join(ROLE.format(role=role, model="./models/vlm") + more for role in ("captioner", "selector", "reasoner"))
    assert connect(profiles.load(f"{write(text)}@localhost:8000")).captioner.context_length == 900


def test_selecting_by_embedding_needs_a_ranker(write):
    with pytest.raises(ProfileError, match=r'select_by = "embedding" needs a \[ranker\]'):
        profiles.load(write('select_by = "embedding"\n' + OWN))


def test_a_rankers_head_is_relative_to_the_profile(write, tmp_path):
    ranker = '[ranker]\nbackend = "transformers"\nmodel = "some/embedder"\nhead = "./head"\n'
    assert profiles.load(write('select_by = "hybrid"\n' + OWN + ranker)).ranker.head == str(tmp_path / "head")


def test_profiles_for_real_videos_rank_with_a_head_that_is_shipped():
    for name in ("laptop", "api", "paper"):
        profile = profiles.load(name)
        assert profile.select_by == "embedding"
        assert (Path(profile.ranker.head) / "model.safetensors").stat().st_size < 4_000_000
