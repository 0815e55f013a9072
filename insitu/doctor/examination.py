"""All checks of a coupling, one after the other."""

from collections.abc import Callable

from insitu.doctor import acting, learning, ranks
from insitu.doctor.coupling import Coupling
from insitu.doctor.finding import Fault, Finding, Skip

__all__ = ["CHECKS", "examine"]

CHECKS: dict[str, Callable[[Coupling], str]] = {
    "weights change the state": acting.check_weights,
    "the field reaches the model": acting.check_input,
    "a zero model changes nothing": acting.check_zero_model,
    "the answer is a rate": acting.check_time_step,
    "components keep their places": acting.check_components,
    "the model sees over the seam": acting.check_halo,
    "NaN of the model is an error": acting.check_nan,
    "a wrong shape is an error": acting.check_shape,
    "model and solver share a stream": acting.check_stream,
    "snapshots stay what they were": learning.check_snapshots,
    "snapshots keep the components": learning.check_component_order,
    "inputs end before their targets": learning.check_labels,
    "the forecast knows the past alone": learning.check_forecast_input,
    "weights change the forecast": learning.check_forecast_weights,
    "NaN in the state is an error": learning.check_divergence,
    "ranks change nothing": ranks.check_ranks,
}


def examine(coupling: Coupling) -> list[Finding]:
    """Return what each check of `CHECKS` finds; an error that no check expects is a failure with its text."""
    return [_finding(name, check, coupling) for name, check in CHECKS.items()]


def _finding(name: str, check: Callable[[Coupling], str], coupling: Coupling) -> Finding:
    try:
        return Finding(name, "PASS", check(coupling))
    except Skip as reason:
        return Finding(name, "skipped", str(reason))
    except Fault as fault:
        return Finding(name, "FAIL", str(fault))
    except Exception as error:
        return Finding(
            name, "FAIL", f"the coupling raises {type(error).__name__}: {error}".splitlines()[0]
        )
