"""The real trainer, which hangs once within C at its 12th batch if RUN/hang exists: `hung_trainer.py RUN --job JOB`.

RUN/hang says whether the call keeps Python's lock (`gil`) or lets other threads run (`c`), as calls of CUDA do; `cuda` is a real one, which
waits for a kernel without end.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import torch

from loratui.engine.training import __main__ as trainer
from loratui.engine.training.diffusion_loss import DiffusionLoss

if __name__ == "__main__":
    compute, hang, batches = DiffusionLoss.compute, Path(sys.argv[1]) / "hang", 0

    def hanging(loss: DiffusionLoss, batch: Any) -> Any:
        global batches
        batches += 1
        if batches == 12 and hang.exists():
            where = hang.read_text()
            hang.unlink()
            if where == "cuda":
                torch.cuda._sleep(1 << 62)
                torch.cuda.synchronize()
            library = ctypes.PyDLL(None) if where == "gil" else ctypes.CDLL(None)
            mutex = ctypes.create_string_buffer(64)
            for _ in range(2):  # no signal ends the second call
                library.pthread_mutex_lock(mutex)
        return compute(loss, batch)

    DiffusionLoss.compute = hanging  # type: ignore[method-assign]  # what this test replaces
    trainer._leave(trainer.main())
