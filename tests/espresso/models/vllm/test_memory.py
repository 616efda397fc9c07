"""Which GPUs and which share of their memory the servers get, for machines that are not here."""

import pytest

from espresso import profiles
from espresso.errors import ModelError, ProfileError
from espresso.models.vllm import memory
from espresso.models.vllm.memory import GIB, Card, place
from espresso.profiles import LocalRole

H100 = Card(total_gb=79.1, free_gb=78.6)
RTX4090 = Card(total_gb=23.5, free_gb=23.1)


def local(download="10 GB", **more):
    return LocalRole(backend="transformers", model="nobody/model", download=download, **more)


def start_all(placements, cards):
    """Start the servers as vLLM does, in both orders: check the free memory, then take the need."""
    for order in (placements, placements[::-1]):
        free = [card.free_gb for card in cards]
        for server in order:
            for device in server.devices:
                assert free[device] >= server.share * cards[device].total_gb
                free[device] -= server.total_gb


@pytest.mark.parametrize(
    ("name", "cards"),
    [("paper", [H100]), ("laptop", [RTX4090]), ("paper", [Card(44.4, 44), RTX4090]), ("tiny", [RTX4090])],
)
def test_each_server_finds_the_memory_that_vllm_checks_for(name, cards):
    models = list(profiles.unique_models(profiles.load(name)).values())
    placements = place(models, cards)
    assert len(placements) == len(models)
    start_all(placements, cards)
    for server in placements:
        assert 0 < server.share < 0.92
        assert all(server.share * cards[device].total_gb >= server.total_gb for device in server.devices)


def test_models_that_do_not_fit_are_an_error_that_lists_their_needs():
    models = [local(), local("30 GB", cache_gb=16)]
    message = r"GPU 0 has 23.1 of 23.5 GB free, but its servers need 66.\d GB \(nobody/model 17.3, nobody/model 47.9\).*cache_gb"
    with pytest.raises(ProfileError, match=message):
        place(models, [RTX4090])


def test_memory_of_other_programs_is_not_planned():
    assert place([local()], [Card(24, 20)])
    with pytest.raises(ProfileError, match=r"GPU 0 has 17\.0 of 24\.0 GB free"):
        place([local()], [Card(24, 17)])


def test_models_spread_over_the_gpus_with_the_most_memory_left():
    small, large = local("2 GB"), local("12 GB")
    assert [server.devices for server in place([small, large, small], [RTX4090, H100])] == [(1,), (1,), (1,)]
    assert [server.devices for server in place([small, large], [RTX4090, RTX4090])] == [(1,), (0,)]


def test_a_profile_can_name_the_gpus():
    placements = place([local(devices=[1]), local("12 GB"), local(devices=(1,))], [H100, H100])
    assert [server.devices for server in placements] == [(1,), (0,), (1,)]


def test_tensor_parallelism_divides_weights_and_cache():
    (whole,) = place([local("20 GB", cache_gb=8)], [H100, H100])
    (split,) = place([local("20 GB", cache_gb=8, tensor_parallel=2)], [H100, H100])
    assert split.devices == (0, 1)
    assert split.weights_gb == pytest.approx(whole.weights_gb / 2)
    assert split.cache_gb == whole.cache_gb / 2
    assert split.overhead_gb == whole.overhead_gb


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ({"devices": (2,)}, "sets GPUs 2, but this machine has 2 GPUs"),
        ({"tensor_parallel": 3}, "sets tensor_parallel = 3, but this machine has 2 GPUs"),
        ({"download": None}, "size of nobody/model is unknown. Run `hf download nobody/model`, or add its size"),
    ],
)
def test_a_plan_that_is_impossible_names_the_cure(role, message):
    with pytest.raises(ProfileError, match=message):
        place([local(**role)], [H100, H100])


def test_the_profile_must_name_as_many_gpus_as_it_uses():
    with pytest.raises(ValueError, match="devices must name 2 different GPUs"):
        local(tensor_parallel=2, devices=(1, 1))


def test_weights_are_measured_where_they_are_on_this_machine(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 3000)
    (tmp_path / "pytorch_model.bin").write_bytes(b"0" * 9000)
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(b"0" * 500)
    here = local().model_copy(update={"model": str(tmp_path), "adapters": {"answer": str(tmp_path / "lora")}})
    assert memory.weights_gb(here) * GIB == 3500
    assert memory.weights_gb(local("4.3 GB")) * GIB == pytest.approx(4.3e9)
    assert memory.weights_gb(local("450 MB")) * GIB == pytest.approx(4.5e8)
    assert memory.weights_gb(local("much")) is None


def test_without_a_gpu_nothing_is_shared():
    (server,) = place([local(tensor_parallel=2, devices=(0, 1))], [])
    assert (server.devices, server.share) == ((), None)


def test_gpus_are_read_in_another_process(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text(
        "import os; assert os.environ['CUDA_DEVICE_ORDER'] == 'PCI_BUS_ID'\n"
        "class cuda: device_count = lambda: 2; mem_get_info = lambda index: ((20 + index) * 2**30, 24 * 2**30)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert memory.read_cards() == [Card(24, 20), Card(24, 21)]
    (tmp_path / "torch.py").write_text("raise RuntimeError('no driver')")
    with pytest.raises(ModelError, match=r"cannot read the memory of the GPUs \(RuntimeError: no driver\)"):
        memory.read_cards()


def test_devices_are_positions_among_those_that_the_user_allows(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert memory.visible_devices((0, 2)) == "0,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 5,GPU-8a")
    assert memory.visible_devices((0, 2)) == "4,GPU-8a"
