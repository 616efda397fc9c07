"""Profiles are read, and what is wrong with one is said in a sentence."""

import pytest

from espresso import profiles
from espresso.errors import ProfileError
from espresso.models import LocalModel, ServerModel, connect

ROLE = '[{role}]\nbackend = "transformers"\nmodel = "{model}"\n'
HEAD = 'about = "mine"\ndownload = "none"\nprompts = "general"\nsampling = "uniform-8"\nframe_size = 224\ncore_frames = 4\n'
OWN = HEAD + "".join(ROLE.format(role=role, model="./models/vlm") for role in ("captioner", "selector", "reasoner"))


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "own.toml").write_text(text)
        return tmp_path / "own.toml"

    return write


def test_the_four_shipped_profiles_load_and_say_what_they_can():
    assert profiles.names() == ["api", "laptop", "paper", "tiny", "tiny-light"]
    for name in profiles.names():
        profile = profiles.load(name)
        assert profile.name == name
        assert profile.about.endswith(".")
        assert "\n" not in profile.about


def test_tiny_needs_nothing_and_sees_with_one_model(monkeypatch):
    profile = profiles.load("tiny")
    roles = connect(profile)
    assert profile.download == "none"
    assert "procedural world" in profile.about
    assert roles.captioner is roles.reasoner is not roles.selector
    assert roles.judge not in (None, roles.reasoner, roles.selector)


def test_a_path_is_a_profile_too_and_its_models_lie_beside_it(write, tmp_path):
    profile = profiles.load(write(OWN + 'adapters = { evidence = "./lora" }\n'))
    assert profile.captioner.model == str(tmp_path / "models/vlm")
    assert profile.reasoner.adapters == {"evidence": str(tmp_path / "lora")}
    assert connect(profile).adapters == {"evidence": "evidence"}
    assert isinstance(connect(profile).captioner, LocalModel)


def test_roles_that_differ_in_adapters_alone_share_a_model_but_not_a_name(write):
    judge = ROLE.format(role="judge", model="./models/vlm") + 'adapters = {{ {} = "./other" }}\n'
    reasoner = 'adapters = { answer = "./lora" }\n'
    roles = connect(profiles.load(write(OWN + reasoner + judge.format("judge"))))
    assert roles.captioner is roles.reasoner is roles.judge
    with pytest.raises(ProfileError, match=r"two roles of .*vlm have an adapter 'answer'. Rename one"):
        connect(profiles.load(write(OWN + reasoner + judge.format("answer"))))


def test_a_profile_at_an_address_has_its_models_behind_servers_a_port_each(write):
    profile = profiles.load("paper@gpu7:9000")
    assert profile.name == "paper@gpu7:9000"
    assert [(role.model, role.base_url) for role in profile.roles.values()] == [
        ("OpenGVLab/InternVL3-1B-hf", "http://gpu7:9000/v1"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "http://gpu7:9001/v1"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "http://gpu7:9002/v1"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "http://gpu7:9002/v1"),
    ]
    roles = connect(profile)
    assert isinstance(roles.captioner, ServerModel)
    assert roles.judge is roles.reasoner is not roles.captioner


def test_a_served_folder_is_called_as_the_model_in_this_process_is(write, tmp_path):
    more = "context_length = 1000\npicture_tokens = 10\n"
    text = OWN.replace('vlm"\n', f'vlm"\n{more}') + 'adapters = { evidence = "./lora" }\n'
    profile = profiles.load(f"{write(text)}@localhost:8000")
    here = connect(profiles.load(tmp_path / "own.toml"))
    assert {role.model for role in profile.roles.values()} == {here.reasoner.name}
    assert profile.reasoner.adapters["evidence"].startswith("lora@")
    roles = connect(profile)
    assert roles.captioner is roles.selector is roles.reasoner


def test_an_at_in_a_path_is_the_paths_own(write, tmp_path):
    (tmp_path / "me@home").mkdir()
    own = write(OWN).rename(tmp_path / "me@home" / "mine@work.toml")
    assert profiles.load(own).name == str(own)


def test_api_roles_stay_where_they_are(monkeypatch):
    assert profiles.load("api@localhost:8000").reasoner == profiles.load("api").reasoner


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tiny@localhost", "tiny@localhost: not an address. Give tiny@host:port"),
        ("tiny@:80", "not an address"),
        ("tinny@localhost:1", "Did you mean tiny"),
    ],
)
def test_an_address_that_is_none_is_told(address, sentence):
    with pytest.raises(ProfileError, match=sentence):
        profiles.load(address)


def test_what_a_server_must_know_is_asked_for(write):
    with pytest.raises(ProfileError, match=r"vlm cannot be served without its context_length"):
        profiles.load(f"{write(OWN)}@localhost:8000")


def test_the_api_profile_wants_its_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        ProfileError, match=r"profile api: gpt-4\.1-mini needs a key. Put it into the environment as OPENAI_API_KEY"
    ):
        connect(profiles.load("api"))
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert connect(profiles.load("api")).judge


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tinny", "no profile is called 'tinny' (there are: api, laptop, paper, tiny, tiny-light). Did you mean tiny?"),
        ("", "Give one of these, or the path of a .toml file."),
        ("../tiny", "no profile is called '../tiny'"),
        ("gone.toml", "gone.toml: the profile cannot be read (No such file or directory)"),
    ],
)
def test_an_unknown_profile_is_named(name, sentence):
    with pytest.raises(ProfileError) as caught:
        profiles.load(name)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("about = ", "this is not TOML"),
        (HEAD, "captioner: Field required"),
        (OWN.replace("224", "0"), "frame_size: Input should be greater than 0"),
        (OWN.replace('"transformers"', '"magic"'), "captioner: Input tag 'magic'"),
        (OWN + 'colour = "red"\n', "reasoner.transformers.colour: Extra inputs are not permitted"),
        (HEAD + 'captioner = "x"\n', "captioner: Input should be"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said(write, text, sentence):
    with pytest.raises(ProfileError) as caught:
        profiles.load(write(text))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
