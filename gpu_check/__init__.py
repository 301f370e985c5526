"""Does everything work on a machine's GPUs, and how fast: `tools/gpu_check.py`.

Whatever may abort or hang runs in a process of its own: a CHECK inside Caffe ends the process. The checks
compare a device with the CPU; where the device is the CPU too, they check themselves.
"""
