"""What the errors of GPUs mean: by the words of torch and the driver, the sentence, the exit code and the advice."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from loratui.engine.errors import ExitCode


@dataclass(frozen=True, slots=True)
class GpuFault:
    """One class of errors."""

    id: str
    sentence: str
    advice: str
    """`{install}` stands for the sentence with the line that installs a fitting torch."""
    code: ExitCode
    pattern: re.Pattern[str]


def _fault(id: str, code: ExitCode, pattern: str, sentence: str, advice: str) -> GpuFault:
    return GpuFault(id, sentence, advice, code, re.compile(pattern, re.IGNORECASE))


_ELSEWHERE = "Restart the machine or move the run to another, then: loratui resume."

FAULTS: tuple[GpuFault, ...] = (
    _fault(
        "main_memory",
        ExitCode.OUT_OF_MEMORY,
        r"DefaultCPUAllocator|can't allocate memory|not enough memory|cannot allocate memory|std::bad_alloc",
        "There is too little main memory for these settings.",
        "Use a machine or container with more RAM, a smaller base, or a batch size of 1.",
    ),
    _fault(
        "gpu_memory",
        ExitCode.OUT_OF_MEMORY,
        # A library that cannot make its workspace says only that it was not initialised.
        r"out of memory|cudaErrorMemoryAllocation"
        r"|CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED|CUDNN_STATUS_NOT_INITIALIZED"
        r"|CUDNN_STATUS_INTERNAL_ERROR_(DEVICE|HOST)_ALLOCATION_FAILED|CUSOLVER_STATUS_ALLOC_FAILED",
        "There is too little GPU memory for these settings.",
        "Try a batch size of 1, then a lower resolution or rank; nvidia-smi shows whether other programs hold memory.",
    ),
    _fault(
        "no_kernels",
        ExitCode.USAGE,
        r"no kernel image is available|cudaErrorNoKernelImageForDevice|invalid device function|no binary for gpu"
        r"|device kernel image is invalid|cudaErrorInvalidKernelImage",
        "This torch has no kernels for this GPU.",
        "{install}",
    ),
    _fault(
        "driver_old",
        ExitCode.USAGE,
        r"driver on your system is too old|driver version is insufficient|PTX was compiled with an unsupported toolchain"
        r"|unsupported ptx version|cudaErrorInsufficientDriver|cudaErrorUnsupportedPtxVersion"
        r"|not supported in the installed CUDA driver|cudaErrorCallRequiresNewerDriver",
        "The NVIDIA driver is too old for this torch.",
        "{install}",
    ),
    _fault(
        "driver_broken",
        ExitCode.USAGE,
        r"driver/library version mismatch|unsupported display driver|Error 803|forward compatibility was attempted|Error 804"
        r"|Found no NVIDIA driver|CUDA driver initialization failed|CUDA unknown error"
        r"|cudaGetDeviceCount\(\).*Error (3|101|304|999)\b",
        "The NVIDIA driver of this machine does not work.",
        "Restart the machine: a driver that was updated works only after that. Where it does not help, rent another.",
    ),
    _fault(
        "libraries_mixed",
        ExitCode.USAGE,
        r"CUDNN_STATUS_(SUBLIBRARY_)?(VERSION_MISMATCH|LOADING_FAILED)|cuDNN version incompatibility|Could not load library libcu"
        r"|cannot load symbol cu(dnn|blas)|CUDNN_STATUS_RUNTIME_PREREQUISITE_MISSING|PTX JIT compiler library not found",
        "torch met CUDA libraries (cuDNN) of another version than its own.",
        "Take folders with other CUDA or cuDNN files out of LD_LIBRARY_PATH (unset LD_LIBRARY_PATH), or uninstall the machine's own "
        "cuDNN. Where that does not help: {install}",
    ),
    _fault(
        "not_a_gpu_build",
        ExitCode.USAGE,
        r"Torch not compiled with CUDA enabled",
        "This torch is a build for CPUs.",
        "{install}",
    ),
    _fault(
        "unsupported",
        ExitCode.USAGE,
        r"(CUBLAS|CUDNN)_STATUS_(NOT_SUPPORTED|ARCH_MISMATCH)|CUDA error: operation not supported(?! on)|cudaErrorNotSupported"
        r"|unable to find an engine to execute this computation",
        "This GPU cannot compute what these settings ask for.",
        "Set training.precision to fp32, memory.compile and memory.cuda_graphs to off, and start again.",
    ),
    _fault(
        "gpu_busy",
        ExitCode.GPU_LOST,
        r"busy or unavailable|cudaErrorDevicesUnavailable|exclusive.?(process|thread)"
        r"|device already in use|cudaErrorDeviceAlreadyInUse|MPS (client|server)|cudaErrorMps",
        "The GPU is taken by another program, or does not let a second one in.",
        "See with nvidia-smi who has it, end that, or set its compute mode to default (nvidia-smi -c 0); then: loratui resume.",
    ),
    _fault(
        "gpu_not_ready",
        ExitCode.GPU_LOST,
        r"system not yet initialized|Error 802",
        "The GPUs of this machine are not ready: the service that links them (NVIDIA Fabric Manager) does not run.",
        "Wait a minute or restart the machine, then: loratui resume. Where it does not help, rent another.",
    ),
    _fault(
        "gpu_assert",
        ExitCode.GPU_LOST,
        r"device-side assert",
        "A computation on the GPU met a number out of its range and was ended; the GPU itself is sound.",
        "loratui resume goes on from the last checkpoint. If it comes again at the same step, the base's files or loratui are "
        "at fault: report it with log/trainer.log.",
    ),
    _fault(
        "gpu_ecc",
        ExitCode.GPU_LOST,
        r"uncorrectable|\bECC\b|row.?remap",
        "The memory of the GPU has a fault that it cannot correct.",
        "The hardware is at fault: move the run to another machine, then: loratui resume.",
    ),
    _fault(
        "gpu_lost",
        ExitCode.GPU_LOST,
        r"GPU is lost|fallen off the bus|\bXid\b|device (is )?(lost|removed)|NVML_ERROR_GPU_IS_LOST|GPU requires reset"
        r"|no CUDA-capable device is detected|cudaErrorNoDevice",
        "The GPU no longer answers the driver.",
        _ELSEWHERE,
    ),
    _fault(
        "gpu_hung",
        ExitCode.GPU_LOST,
        r"launch timed out|cudaErrorLaunchTimeout",
        "A computation took longer than the driver lets a GPU work for a screen at a time.",
        "Use a GPU without a monitor, a smaller batch, or a lower resolution; then: loratui resume.",
    ),
    _fault(
        "gpu_failed",
        ExitCode.GPU_LOST,
        r"illegal memory access|misaligned address|illegal instruction|invalid program counter|unspecified launch failure"
        r"|hardware stack error|(shared|invalid) address space|CUDA error: (unknown|initialization error|device)"
        r"|peer GPU memory over nvlink|cudaErrorContained"
        r"|(CUBLAS|CUDNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)|cudaError(Unknown|LaunchFailure|IllegalAddress)",
        "The GPU failed in the middle of its work.",
        f"loratui resume goes on from the last checkpoint. If it comes again: {_ELSEWHERE[0].lower()}{_ELSEWHERE[1:]}",
    ),
)
"""In the order in which they are tried. docs/scripting.md lists the codes: 2 for what a person must install or set, 33 for a GPU that does not
work now, 34 for memory."""


_BY_ID = {fault.id: fault for fault in FAULTS}
_NO_RUNTIME_ERRORS = ("DeferredCudaCallError", "SafetensorError")
"""Errors of torch and its libraries that are about the GPU or memory and are not of the kind of all others."""
_DEEPEST = 10
"""Errors that were raised from one another."""


def fault_in(error: BaseException) -> GpuFault | None:
    """The class of an error of torch or Python, or of what it was raised from; None for what has nothing to do with a GPU or
    with memory."""
    link: BaseException | None = error
    for _ in range(_DEEPEST):
        if link is None:
            return None
        found = _class_of(link)
        if found is not None:
            return found
        link = link.__cause__
    return None


def _class_of(error: BaseException) -> GpuFault | None:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return _BY_ID["main_memory"]
    if isinstance(error, AssertionError):  # of torch itself, which raises it where it is built for CPUs
        return _BY_ID["not_a_gpu_build"] if _BY_ID["not_a_gpu_build"].pattern.search(str(error)) else None
    if not (isinstance(error, RuntimeError) or type(error).__name__ in _NO_RUNTIME_ERRORS):
        return None
    return fault_of(str(error)) or (_BY_ID["gpu_memory"] if type(error).__name__ == "OutOfMemoryError" else None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is short, on the GPU or beside it."""
    fault = fault_in(error)
    return fault is not None and fault.code == ExitCode.OUT_OF_MEMORY


def is_gpu_lost(error: BaseException) -> bool:
    """Whether the GPU can no longer be used by this process; nothing on it can be saved then."""
    fault = fault_in(error)
    return fault is not None and fault.code == ExitCode.GPU_LOST


def fault_of(text: str) -> GpuFault | None:
    """The class of an error with this text; None for what has nothing to do with a GPU or with memory."""
    return next((fault for fault in FAULTS if fault.pattern.search(text)), None)
