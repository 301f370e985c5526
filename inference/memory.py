"""Memory asked for before Caffe takes it: where it runs out, Caffe or the kernel ends the process."""

import resource
from collections.abc import Iterator
from pathlib import Path

from common.errors import NetError

FLOAT = 4  # bytes
WORK = 30 << 20  # the code that oneDNN writes, and what threads need for strips and tiles
WINOGRAD = 36 // 9  # values of a transformed 3x3 filter, by its own
CGROUP = Path("/sys/fs/cgroup")


def forward_bytes(net, blobs: int) -> int:
    """Return the bytes that the forward passes of a caffe.Net on the CPU take at its present shape.

    The bytes of its `blobs` as they lie; what BatchNorm, Scale and the stem's MAX pooling, the largest, keep
    beside; 3x3 filters as Winograd's algorithm takes them; and the libraries' work space. Parameters, which
    are there already, are left out. With these, a process is within 12 % of what it says.
    """
    counts = [blob.count for blob in net._blobs]
    internal = 0
    for number, layer in enumerate(net.layers):
        bottoms, tops = list(net._bottom_ids(number)), list(net._top_ids(number))
        if layer.type == "BatchNorm":  # temp_ and x_norm_
            internal += 2 * counts[bottoms[0]]
        elif layer.type == "Scale" and tops == bottoms[:1]:  # temp_
            internal += counts[bottoms[0]]
    pooled = [counts[net._top_ids(n)[0]] for n, layer in enumerate(net.layers) if layer.type == "Pooling"]
    internal += max(pooled, default=0) + sum(WINOGRAD * filters for filters in _filters_3x3(net))
    return blobs + FLOAT * internal + WORK


def _filters_3x3(net) -> Iterator[int]:
    """Yield for each layer the values of its 3x3 filters; of a DenseBlock, those of one unit at a time."""
    for layer in net.layers:
        values = [blob.count for blob in layer.blobs if tuple(blob.shape)[2:] == (3, 3)]
        if values:
            yield max(values)


def available_bytes() -> int | None:
    """Return how much memory this process can still take: of the machine, its cgroup, its own limit."""
    rooms = [_of_machine(), _of_cgroup(), _of_limit()]
    known = [room for room in rooms if room is not None]
    return min(known) if known else None


def check_room(where: object, needed: int, remedy: str) -> None:
    """Raise NetError where a net needs more bytes than there are."""
    room = available_bytes()
    if room is not None and needed > room:
        fact = f"takes at least {needed / 2**30:.1f} GiB to predict a tile, {room / 2**30:.1f} GiB are free"
        raise NetError(where, fact, remedy)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return values[0] * 1024 if values else None


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
