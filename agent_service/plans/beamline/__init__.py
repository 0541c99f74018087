r"""The simulated beamline: two coupled mirror axes and a flux monitor, for the demo, the notebooks and the tests.

The true flux at mirror positions :math:`x, y` (mm) is, in 1e9 photons/s,

.. math::

    F(x, y) = B + P \left[(1 - w) \exp(-q / 2) + w \exp(-q / 18)\right], \qquad
    q = (u / \sigma_u)^2 + (v / \sigma_v)^2

with :math:`u, v` the offsets from the optimum turned by 35 degrees, so that neither mirror can be aligned on its own.
The peak (FWHM 3.1 mm along its ridge, 1.4 mm across) stands on a weak tail three times as wide. A measurement adds
normal noise of standard deviation :math:`\sqrt{1 + (F / 100)^2}`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    import random

LIMITS_MM: Final = (-5.0, 5.0)
"""Lowest and highest position of either mirror."""

_CENTRE_MM: Final = (1.3, -1.7)
_TILT: Final = math.radians(35)
_SIGMAS_MM: Final = (1.3, 0.6)
_PEAK: Final = 100.0
_BACKGROUND: Final = 1.0
_TAIL: Final = 0.2

_COMMON: Final = (
    "motor motor1 motor2 motor3 det det1 det2 det3 det4 noisy_det rand rand2 sig signal bool_sig "
    "jittery_motor1 jittery_motor2 det5 img direct_img pseudo1x3 pseudo3x3"
)


class Optimum(NamedTuple):
    """Where the flux is highest (mirror name to position, in mm), and the true flux there, in 1e9 photons/s."""

    point: dict[str, float]
    flux: float


def true_flux(x: float, y: float) -> float:
    """Return the flux without noise at mirror positions ``x``, ``y`` (mm), in 1e9 photons/s, by the formula above."""
    dx, dy = x - _CENTRE_MM[0], y - _CENTRE_MM[1]
    u = dx * math.cos(_TILT) + dy * math.sin(_TILT)
    v = dy * math.cos(_TILT) - dx * math.sin(_TILT)
    q = (u / _SIGMAS_MM[0]) ** 2 + (v / _SIGMAS_MM[1]) ** 2
    return _BACKGROUND + _PEAK * ((1 - _TAIL) * math.exp(-q / 2) + _TAIL * math.exp(-q / 18))


def measured_flux(x: float, y: float, *, noise: random.Random) -> float:
    """Return one noisy measurement of the flux at ``x``, ``y`` (mm), in 1e9 photons/s."""
    true = true_flux(x, y)
    return noise.gauss(true, math.hypot(1.0, 0.01 * true))


def optimum() -> Optimum:
    """Return the one optimum; it is the same for every seed."""
    x, y = _CENTRE_MM
    return Optimum({"mirror_x": x, "mirror_y": y}, true_flux(x, y))


def simulated(*, seed: int = 0) -> dict[str, Any]:
    """Make the devices of the simulated beamline, anew at each call; ``seed`` is for the flux's noise. Imports ophyd.

    Returns, by name, ``mirror_x`` and ``mirror_y`` (mm, within `LIMITS_MM`, now at 0; a move takes 0.1 s and 0.03 s
    more for each mm), ``flux`` (1e9 photons/s), and the common devices of ``ophyd.sim``: ``motor``, ``det`` and others.
    """
    from ophyd import sim  # noqa: PLC0415 - the service can do without ophyd when it has a beamline of its own

    from agent_service.plans.beamline._devices import FluxMonitor, MirrorAxis  # noqa: PLC0415 - imports ophyd

    borrowed = cast("dict[str, Any]", vars(cast("Any", sim).hw()))
    mirror_x, mirror_y = MirrorAxis(name="mirror_x"), MirrorAxis(name="mirror_y")
    flux = FluxMonitor(mirror_x, mirror_y, name="flux", seed=seed)
    return {
        **{name: borrowed[name] for name in _COMMON.split()},
        "mirror_x": mirror_x,
        "mirror_y": mirror_y,
        "flux": flux,
    }
