"""Does everything work on a machine's GPUs, and how fast: `make gpu-check`.

Each check runs in a process of its own, since a CHECK inside Caffe ends the process. The checks compare a
device with the CPU; told that the device is the CPU too, they check themselves.
"""
