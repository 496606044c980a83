import importlib
import sys
import types

import pytest
import torch

from models import devices
from models.errors import ModelError

GPU = torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch):
    """``gpus(free, ...)``: a machine that has a GPU with so many GB free for each, of 24."""

    def there(*free, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index or 0] * 1e9, 24e9))

    return there


def test_the_best_device_is_picked(gpus, monkeypatch):
    gpus()
    assert devices.pick().type == ("mps" if torch.backends.mps.is_available() else "cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.pick().type == "mps"
    gpus(20)
    assert devices.pick().type == "cuda"
    assert devices.pick("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("name", "told"), [("cuda", "no cuda device"), ("toaster", "not a device"), ("meta", "no meta")]
)
def test_a_device_that_is_not_there(gpus, name, told):
    gpus()
    with pytest.raises(ModelError, match=told):
        devices.pick(name)


def test_the_type_that_is_fast(gpus):
    gpus(20)
    assert devices.dtype_on(GPU) == torch.bfloat16
    gpus(20, bf16=False)
    assert devices.dtype_on(GPU) == torch.float16
    assert devices.dtype_on(torch.device("mps")) == torch.float16
    assert devices.dtype_on(torch.device("cpu")) == torch.float32
    assert devices.dtype_on(GPU, "float32") == devices.dtype_on(GPU, torch.float32) == torch.float32
    with pytest.raises(ModelError, match="'int8' is not a type"):
        devices.dtype_on(GPU, "int8")


def test_a_model_goes_where_it_fits(gpus):
    gpus(20, 20)
    assert devices.placement(GPU, 14e9, spread=True) == {"device_map": {"": GPU}}  # one holds it: faster than two
    assert devices.placement(GPU, 30e9, spread=True) == {"device_map": "auto"}
    with pytest.raises(ModelError, match=r"needs about 30\.0 GB of memory; cuda:0 has 20\.0 GB"):
        devices.placement(GPU, 30e9, spread=False)
    with pytest.raises(ModelError, match=r"about 900000\.0 GB.*with all its GPUs"):
        devices.placement(GPU, 9e14, spread=True)
    assert devices.placement(torch.device("cpu"), 1e6, spread=True) == {}
    with pytest.raises(ModelError, match="this machine has"):
        devices.placement(torch.device("cpu"), 1e15, spread=True)


def test_memory_of_this_machine_and_of_a_container(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    here = devices.memory(cpu)
    assert 0 < here.free <= here.total
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100000\n")
    monkeypatch.setattr(devices, "_CGROUP", tmp_path)
    unlimited = devices.memory(cpu)
    assert unlimited.total >= here.total
    (tmp_path / "memory.max").write_text("1000000\n")
    assert devices.memory(cpu) == devices.Memory(900000, 1000000)
    (tmp_path / "memory.current").write_text("2000000\n")
    assert devices.memory(cpu).free == 0


def test_a_model_may_be_spread_over_all_gpus(gpus, monkeypatch):
    gpus(20, 20, 20)
    assert devices.capacity() == 72e9
    gpus()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.capacity() == devices.memory(torch.device("cpu")).total


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True), (MemoryError(), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), True),
        (RuntimeError("size mismatch for lora_A"), False), (ValueError("out of memory"), False),
    ],
)  # fmt: skip
def test_memory_that_ran_out_is_known_by_every_device(error, short):
    assert devices.exhausted(error) is short


def test_bytes_by_type():
    assert devices.bytes_needed(1e9, torch.float32) == pytest.approx(4.8e9)
    assert devices.bytes_needed(1e9, torch.bfloat16) == pytest.approx(2.4e9)
    assert devices.bytes_needed(1e9, torch.bfloat16, 4) == pytest.approx(0.6e9)


def test_quantisation_says_what_it_needs(monkeypatch, gpus):
    monkeypatch.delenv("CROSSTALK_QUANTIZE", raising=False)
    assert devices.quantization() is None
    monkeypatch.setenv("CROSSTALK_QUANTIZE", "8")
    assert devices.quantization() == 8
    monkeypatch.setenv("CROSSTALK_QUANTIZE", "3")
    with pytest.raises(ModelError, match="'3' is neither 4 nor 8"):
        devices.quantization()
    with pytest.raises(ModelError, match="CROSSTALK_QUANTIZE cannot be followed: weights of 4 bits need a CUDA"):
        devices.quantization_config(4, torch.device("cpu"), torch.float32)
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install bitsandbytes"):
        devices.quantization_config(4, GPU, torch.bfloat16)
    with pytest.raises(ModelError, match="2 bits"):
        devices.quantization_config(2, GPU, torch.bfloat16)
    monkeypatch.setattr(devices, "find_spec", lambda name: name)
    assert devices.quantization_config(8, GPU, torch.bfloat16).load_in_8bit
    four = devices.quantization_config(4, GPU, torch.bfloat16)
    assert four.load_in_4bit and four.bnb_4bit_compute_dtype == torch.bfloat16


def test_zero_gpu_is_used_where_it_is_and_nothing_where_it_is_not(monkeypatch):
    def work(x):
        return x + 1

    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it fails, as where it is not installed
    assert devices.gpu(work) is work
    spaces = types.ModuleType("spaces")
    spaces.GPU = lambda fn: lambda *args: ("on the GPU", fn(*args))
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    assert importlib.import_module("spaces") is spaces
    assert devices.gpu(work)(1) == ("on the GPU", 2)
