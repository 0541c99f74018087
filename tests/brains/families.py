"""Families of brains, one line each: how an agent of it is made, and what it cannot do as others do."""

from dataclasses import dataclass, field

BOTH = {"flux": "maximize", "width": "minimize"}


@dataclass(frozen=True)
class Family:
    type: str
    config: dict = field(default_factory=dict)
    outcome: str | list = "flux"
    changed: dict = field(default_factory=dict)  # what a PATCH changes in config
    most_pending: int | None = None  # points it can have open at a time; None: any number
    learns_after: int = 6  # outcomes, after which a point comes from its model


def ax(**config):
    dimensions = [{"name": name, "bounds": [-3, 3], "parameter_type": "float"} for name in ("x", "y")]
    return {"parameters": dimensions, "objective": "flux", **config}


def blop(**config):
    dofs = [{"name": name, "bounds": [-3, 3]} for name in ("x", "y")]
    return {"dofs": dofs, "objectives": [{"name": "flux"}], **config}


MOBO = {"generator": "mobo", "options": {"reference_point": {"flux": -30, "width": 30}}, "objectives": BOTH}
NSGA2 = {"generator": "nsga2", "options": {"population_size": 4}, "objectives": BOTH}
TWO = ["flux", "width"]
SEED = {"seed": 3}

FAMILIES = {
    "ax": Family("bluesky_adaptive.ax.optimizer:AxOptimizer", ax(), changed={"client_kwargs": {"random_seed": 3}}),
    "blop": Family("blop.ax:Agent", blop(), changed={"experiment": {"description": "anew"}}),
    "xopt": Family("xopt", {"n_initial": 8}, changed={"n_initial": 9}, learns_after=9),
    "xopt_mobo": Family("xopt", MOBO, TWO, changed=SEED),
    "xopt_nsga2": Family("xopt", NSGA2, TWO, changed=SEED),
    "xopt_neldermead": Family("xopt", {"generator": "neldermead"}, changed=SEED, most_pending=1),
    "optuna": Family("optuna", changed={"options": {"n_startup_trials": 5}}),
    "optuna_rdb": Family("optuna", {"storage": "sqlite:///study.db", "study": "s"}, changed=SEED),
    "gpcam": Family("gpcam", changed={"acquisition": "variance"}),
    "baybe": Family("baybe", changed=SEED),
    "bofire": Family("bofire", {"n_initial": 6}, changed={"n_initial": 7}),
    "skopt": Family("skopt", {"n_initial": 10}, changed={"n_initial": 11}, learns_after=11),
    "cma": Family("cma", {"popsize": 4}, changed=SEED, most_pending=4),
    "pool": Family("pool", changed={"acquisition": "variance"}),
    "async": Family("own_brains:Awaited", changed=SEED),
    "generations": Family("own_brains:Generations", changed=SEED, most_pending=4),
}

IN_A_PROCESS = {"ax", "xopt", "xopt_nsga2", "optuna_rdb", "gpcam", "generations"}
"""Families whose story the short form tells in a process; it tells those of the others in a thread."""
