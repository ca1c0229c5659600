"""The demo's network: the scenario of the repository, and who holds which address, the same at every start."""

from flowtide.simulator.leases import Leases
from flowtide.simulator.network import leases_of
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import Scenario, load_scenario


def demo_scenario(seed: int, rate: int, zone: str) -> Scenario:
    """``rate``: flows a second, mean over a week; ``zone``: of its days and hours."""
    scenario = load_scenario("noc")
    return scenario.model_copy(
        update={
            "seed": seed,
            "clock": scenario.clock.model_copy(update={"zone": zone}),
            "flows": scenario.flows.model_copy(update={"per_second": float(rate)}),
        }
    )


def demo_leases(scenario: Scenario, now: int) -> Leases:
    """Those of a network that begins at Unix seconds ``now``, and of its history."""
    return leases_of(scenario, populate(scenario.people, scenario.seed), now * 1000)
