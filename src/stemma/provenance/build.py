"""From the facts of a run to its provenance graph.

The mapping is told in ``docs/provenance.md``. It is pure: the same facts give the same graph, element
by element, so a document can be made anew at any time and compared byte by byte.
"""

from stemma.provenance.activities import declare_attempts, declare_run, declare_steps
from stemma.provenance.agents import associate_with_run, declare_agents
from stemma.provenance.facts import index
from stemma.provenance.files import declare_files
from stemma.provenance.graph import ProvGraph, collector_paused, empty_graph
from stemma.provenance.plans import declare_plans
from stemma.provenance.ports import declare_run_inputs, declare_run_outputs, declare_step_values
from stemma.provenance.replications import declare_replications
from stemma.provenance.sources import declare_sources
from stemma.records import RunRecord


def build_graph(run: RunRecord, base_url: str) -> ProvGraph:
    """The provenance of ``run``, as far as it is known; ``base_url`` is the service's public URL.

    Raises:
        ValueError: ``base_url`` cannot begin an identifier, or the record refers to a step or a directory that
            it does not hold.
    """
    graph = empty_graph(base_url)
    with collector_paused():
        _fill(graph, run)
    return graph


def _fill(graph: ProvGraph, run: RunRecord) -> None:
    facts = index(run)
    declare_agents(graph, run)
    declare_plans(graph, facts)
    declare_run(graph, run)
    associate_with_run(graph, run)
    declare_attempts(graph, facts)
    declare_run_inputs(graph, facts)
    declare_steps(graph, facts)
    declare_files(graph, facts)
    declare_sources(graph, facts)
    declare_replications(graph, facts)
    declare_step_values(graph, facts)
    declare_run_outputs(graph, facts)
