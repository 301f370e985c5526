"""The sides that the nets take: 32k+1 survives every halving, and doubling by Interp gives it back."""

SMALLEST, STEP = 33, 32


def is_side(side: int) -> bool:
    """Tell whether `side` is 33, 65, 97 ... 1025 ..."""
    return side >= SMALLEST and side % STEP == 1


def neighbours(side: int) -> str:
    """Return the sides below and above a number that is none, as advice: "993 or 1025"."""
    low = max(SMALLEST, (side - 1) // STEP * STEP + 1)
    return f"{low} or {low + STEP}"
