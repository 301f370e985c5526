"""Memory asked for before Caffe takes it: where it runs out, Caffe or the kernel ends the process."""

import resource
from pathlib import Path

from prototxt_gen.errors import NetError

FLOAT = 4  # bytes
CGROUP = Path("/sys/fs/cgroup")


def forward_bytes(net) -> int:
    """Return the bytes that a forward pass of a caffe.Net touches at its present shape, parameters left out.

    Counted as `prototxt_gen.cost` does: each top that is not its bottom, and what plain layers keep
    beside. A layer of another kind counts with its tops alone.
    """
    counts = [blob.count for blob in net._blobs]
    values = 0
    for number, layer in enumerate(net.layers):
        bottoms, tops = list(net._bottom_ids(number)), list(net._top_ids(number))
        in_place = tops == bottoms[: len(tops)]
        if layer.type != "Split" and not in_place:  # copies of a Split share their data
            values += sum(counts[top] for top in tops)
        if layer.type == "BatchNorm":  # temp_ and x_norm_
            values += 2 * counts[bottoms[0]]
        elif layer.type == "Scale" and in_place:  # temp_
            values += counts[bottoms[0]]
        elif layer.type == "Pooling":  # max_idx_
            values += counts[tops[0]]
        elif layer.type == "Convolution":
            _, channels, *kernel = tuple(layer.blobs[0].shape)
            if kernel != [1, 1]:  # col_buffer_, of one image
                height, width = tuple(net._blobs[tops[0]].shape)[2:]
                values += channels * kernel[0] * kernel[1] * height * width
    return FLOAT * values


def available_bytes() -> int | None:
    """Return how much memory this process can still take: of the machine, its cgroup, its own limit."""
    rooms = [_of_machine(), _of_cgroup(), _of_limit()]
    known = [room for room in rooms if room is not None]
    return min(known) if known else None


def check_room(where: object, needed: int, remedy: str) -> None:
    """Raise NetError where a net needs more bytes than there are."""
    room = available_bytes()
    if room is not None and needed > room:
        fact = f"takes {needed / 2**30:.1f} GiB to predict a tile, {room / 2**30:.1f} GiB are free"
        raise NetError(where, fact, remedy)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None


def _of_cgroup() -> int | None:
    """Return the room in a container's limit; files that can be dropped from memory count as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(stat.get("inactive_file", 0))


def _of_limit() -> int | None:
    """Return the room under `ulimit -v`."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return limit - pages * resource.getpagesize()
