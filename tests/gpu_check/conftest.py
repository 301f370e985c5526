"""A small net that several tests compute."""

import pytest

from gpu_check.nets import write_net


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    """Return DFCNet, narrow and shallow, for training at 33."""
    return write_net(tmp_path_factory.mktemp("nets"), "dfcnet", True, 33, small=True)
