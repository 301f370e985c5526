"""The same nets in PyTorch, for a Python that has it: `torch_speed.py FOLDER KIND DEVICE ROUNDS MODE...`.

FOLDER holds a net, its weights and an input as gpu_check/nets.py writes them; KIND is train or predict,
DEVICE cpu or cuda, a MODE one of MODES. Prints a line of JSON for each mode; answers_<mode>.npz in FOLDER
holds what the first round gave. Needs torch and numpy alone.
"""

import json
import os
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import numpy as np
import torch
from torch_net import TorchNet

SGD = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}
WARM_UP = 2
# Name -> TF32 allowed, channels last, autocast to bfloat16, torch.compile
MODES = {
    "fp32": (False, False, False, False),
    "tf32": (True, False, False, False),
    "bf16": (True, True, True, False),
    "bf16-compiled": (True, True, True, True),
}


def main() -> None:
    """Measure each mode."""
    folder, kind, device, rounds, *modes = sys.argv[1:]
    for mode in modes:
        result = measured(Path(folder), kind, device, int(rounds), mode)
        print(json.dumps({"mode": mode, **result}), flush=True)
        if device == "cuda":
            torch.cuda.empty_cache()  # of this mode's tensors, for the next one's count


def measured(folder: Path, kind: str, device: str, rounds: int, mode: str) -> dict[str, float]:
    """Return the median seconds of a round, and the bytes that the device's memory grew by."""
    tf32, channels_last, bf16, compiled = MODES[mode]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    before = used_bytes(device)
    net = TorchNet(folder, training=kind == "train", device=device)
    form = torch.channels_last if channels_last else torch.contiguous_format
    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        host = {name: torch.from_numpy(arrays[name]).contiguous(memory_format=form) for name in arrays.files}
    inputs = {name: tensor.to(device) for name, tensor in host.items()}
    forward = torch.compile(net) if compiled else net
    optimizer = torch.optim.SGD(net.parameters(), **SGD) if kind == "train" else None

    def train() -> dict[str, torch.Tensor]:
        with torch.autocast(device, torch.bfloat16) if bf16 else nullcontext():
            losses = forward(inputs)
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        optimizer.step()
        return {name: loss.detach().cpu() for name, loss in losses.items()}

    def predict() -> dict[str, torch.Tensor]:
        tile = {name: tensor.to(device) for name, tensor in host.items()}
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16) if bf16 else nullcontext():
            return {name: blob.float().cpu() for name, blob in forward(tile).items()}

    times = []
    for number in range(WARM_UP + rounds):
        start = time.perf_counter()
        answers = (train if kind == "train" else predict)()
        times.append(time.perf_counter() - start)
        if number == 0:
            np.savez(folder / f"answers_{mode}.npz", **{name: blob.numpy() for name, blob in answers.items()})
    return {"seconds": float(np.median(times[WARM_UP:])), "bytes": used_bytes(device) - before}


def used_bytes(device: str) -> int:
    """Return the memory in use: of the whole GPU, or the peak of this process."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return total - free


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    main()
