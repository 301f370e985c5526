"""What a user can get wrong. Tools print these in one line and exit with code 2."""


class DFCNetError(Exception):
    """A mistake in the input: `where` (file, key or option), `fact` (the value found), `remedy`."""

    def __init__(self, where: object, fact: str, remedy: str) -> None:
        super().__init__(f"{where}: {fact}; {remedy}")
        self.where, self.fact, self.remedy = str(where), fact, remedy

    def __reduce__(self) -> tuple:
        """Pickle by the three parts, so that an error can come from another process."""
        return type(self), (self.where, self.fact, self.remedy)


def reason(error: Exception) -> str:
    """Return an error's words in one line: of the system's errors without number and path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())


class ExperimentError(DFCNetError):
    """An experiment file has an unknown key, a wrong value or a combination of which no net can be built."""


class NetError(DFCNetError):
    """Layers that do not fit together, found before Caffe's CHECKs would end the process."""


class DataError(DFCNetError):
    """An image, a mask or a database is missing, broken or not what it should be."""


class WeightsError(DFCNetError):
    """Weights that do not fit the net they are meant for."""


class OutputError(DFCNetError):
    """An output exists already, or cannot be written."""


class RunError(DFCNetError):
    """A training run ended early: a rank died, Caffe aborted, the loss is not a number."""
