"""The learning rate by iteration, as Caffe's SGDSolver computes it; pycaffe does not tell."""

from math import exp

from prototxt_gen.experiment import Solver


def learning_rate(solver: Solver, iteration: int) -> float:
    """Return the rate of the update that leads from `iteration` to the next one (caffe.proto, lr_policy)."""
    gamma, power = solver.gamma, solver.power
    match solver.lr_policy:
        case "fixed":
            factor = 1.0
        case "poly":
            factor = (1 - iteration / solver.max_iter) ** power
        case "step":
            factor = gamma ** (iteration // solver.stepsize)
        case "multistep":
            factor = gamma ** sum(iteration >= step for step in solver.stepvalue)
        case "exp":
            factor = gamma**iteration
        case "inv":
            factor = (1 + gamma * iteration) ** -power
        case "sigmoid":
            factor = 1 / (1 + exp(min(-gamma * (iteration - solver.stepsize), 700.0)))  # no overflow
    return solver.base_lr * factor
