"""Every class of errors of a GPU has its sentence, its exit code and its advice."""

from __future__ import annotations

import errno

import pytest
import torch

from loratui.engine.errors import ExitCode
from loratui.engine.machine import hardware
from loratui.engine.machine.gpu_faults import FAULTS, fault_in, fault_of, is_gpu_lost, is_out_of_memory
from loratui.engine.training.__main__ import explain

SAID = {
    "gpu_memory": (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.68 GiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "Error out of memory at line 380 in file /src/csrc/ops.cu",
    ),
    "main_memory": (
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
        "std::bad_alloc",
        "unable to mmap 6938040682 bytes from file </models/base.safetensors>: Cannot allocate memory (12)",
    ),
    "no_kernels": (
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: invalid device function",
        "Triton Error [CUDA]: device kernel image is invalid",
    ),
    "driver_old": (
        "The NVIDIA driver on your system is too old (found version 11040). Please update",
        "CUDA driver version is insufficient for CUDA runtime version",
        "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
        "CUDA error: API call is not supported in the installed CUDA driver",
    ),
    "driver_broken": (
        "Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination",
        "Error 804: forward compatibility was attempted on non supported HW",
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "Failed to initialize NVML: Driver/library version mismatch",
        "CUDA initialization: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable",
        "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions? Error 101: invalid device",
    ),
    "not_a_gpu_build": ("Torch not compiled with CUDA enabled",),
    "libraries_mixed": (
        "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        "cuDNN error: CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
        "cuDNN version incompatibility: PyTorch was compiled  against (9, 20, 0) but found runtime version (9, 1, 0).",
        "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file",
    ),
    "unsupported": (
        "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx(...)`",
        "cuDNN error: CUDNN_STATUS_ARCH_MISMATCH",
        "CUDA error: operation not supported",
        "GET was unable to find an engine to execute this computation",
    ),
    "gpu_busy": (
        "CUDA error: all CUDA-capable devices are busy or unavailable",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: exclusive-thread device already in use by a different thread",
        "CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
    ),
    "gpu_not_ready": ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",),
    "gpu_assert": ("CUDA error: device-side assert triggered",),
    "gpu_ecc": ("CUDA error: uncorrectable ECC error encountered", "CUDA error: uncorrectable NVLink error detected"),
    "gpu_lost": (
        "NVML: GPU is lost",
        "Unable to determine the device handle: GPU has fallen off the bus",
        "NVML_ERROR_GPU_IS_LOST",
        "CUDA error: no CUDA-capable device is detected",
    ),
    "gpu_hung": ("CUDA error: the launch timed out and was terminated",),
    "gpu_failed": (
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: misaligned address",
        "CUDA error: unspecified launch failure",
        "CUDA error: unknown error",
        "CUDA error: operation not supported on global/shared address space",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    ),
}
"""What torch, the driver and its libraries say, by class."""

CODES = {ExitCode.USAGE: 2, ExitCode.GPU_LOST: 33, ExitCode.OUT_OF_MEMORY: 34}


def test_every_class_has_examples_a_sentence_and_advice() -> None:
    assert SAID.keys() == {fault.id for fault in FAULTS}
    for fault in FAULTS:
        assert fault.sentence.endswith(".")
        assert fault.advice
        assert fault.code in CODES


@pytest.mark.parametrize(("id", "text"), [(id, text) for id, texts in SAID.items() for text in texts])
def test_words_of_the_driver_are_put_into_their_class(id: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: hardware.Listing(()))
    fault = fault_of(text)
    assert fault is not None
    assert fault.id == id
    code, message, remedy = explain(RuntimeError(text))
    assert code == fault.code
    assert message.startswith(fault.sentence)
    assert remedy
    assert "{" not in remedy
    assert is_gpu_lost(RuntimeError(text)) is (code == ExitCode.GPU_LOST)
    assert is_out_of_memory(RuntimeError(text)) is (code == ExitCode.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("CUDA error: invalid argument"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError("out of memory"),
        KeyError("ECC"),
    ],
)
def test_what_is_no_fault_of_the_gpu_is_not_blamed_on_it(error: Exception) -> None:
    assert fault_in(error) is None
    assert explain(error)[0] == ExitCode.CRASHED


def test_memory_is_memory_whatever_the_error_is_called() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert explain(MemoryError())[:2] == (ExitCode.OUT_OF_MEMORY, "There is too little main memory for these settings.")


def test_a_card_without_kernels_is_told_the_build_for_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    card = hardware.Gpu(0, "GTX 1080", 8.0, 8.0, "580.95.05", 0, 40, 30.0, "GPU-1", "", (6, 1))
    monkeypatch.setattr(hardware, "listing", lambda *_: hardware.Listing((card,)))
    assert "whl/cu126" in explain(RuntimeError("CUDA error: no kernel image is available for execution on the device"))[2]
    broken = ImportError("libcudnn.so.9: cannot open shared object file: No such file or directory")
    code, message, remedy = explain(broken)
    assert code == ExitCode.USAGE
    assert "libcudnn.so.9" in message
    assert "whl/cu126" in remedy


def test_the_driver_is_not_asked_while_the_gpu_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: pytest.fail("the driver was asked"))
    assert explain(RuntimeError("CUDA error: device-side assert triggered"))[0] == ExitCode.GPU_LOST


def test_errors_that_torch_raises_as_another_kind_are_known() -> None:
    built = AssertionError("Torch not compiled with CUDA enabled")
    assert getattr(fault_in(built), "id", None) == "not_a_gpu_build"
    late = torch.cuda.DeferredCudaCallError(
        "CUDA call failed lazily at initialization with error: CUDA error: unspecified launch failure"
    )
    assert is_gpu_lost(late)
    assert fault_in(AssertionError("an ECC of ours")) is None


def test_what_an_error_was_raised_from_tells_its_class() -> None:
    lost = ValueError("could not put the base together")
    lost.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_gpu_lost(lost)
    assert explain(lost)[0] == ExitCode.GPU_LOST
    circle = ValueError("its own cause")
    circle.__cause__ = circle
    assert fault_in(circle) is None
