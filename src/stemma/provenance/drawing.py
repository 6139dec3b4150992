"""A drawing as values, and its DOT text.

Only names that we make up go into DOT as identifiers; words from documents are in labels, escaped.
"""

from dataclasses import dataclass, field

import pydot

from stemma.provenance import style

_MANY_NODES = 120
"""From here on the layout is bounded: a good picture in time rather than the best one too late."""


@dataclass(frozen=True, slots=True)
class Node:
    """A box."""

    label: str
    """HTML-like, from :mod:`stemma.provenance.labels`."""
    kind: str
    """Of ``style.NODES``."""
    cluster: str | None = None
    rank: str | None = None
    """``source`` for the top, ``sink`` for the bottom."""
    many: bool = False
    """Whether it stands for several: drawn with a double border."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around nodes."""

    label: str
    parent: str | None = None
    failed: bool = False


@dataclass(slots=True)
class Drawing:
    """Nodes, frames and arrows, by keys that mean nothing to DOT."""

    title: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """From, to, and kind of ``style.EDGES``."""


def to_dot(drawing: Drawing) -> str:
    """``drawing`` in the DOT language."""
    graph = _empty(drawing)
    frames = _frames(drawing, graph)
    identifiers = {key: f"n{number}" for number, key in enumerate(drawing.nodes)}
    for key, node in drawing.nodes.items():
        holder = frames.get(node.cluster, graph)
        holder.add_node(_node(identifiers[key], node))
    for rank in ("source", "sink"):
        level = pydot.Subgraph(rank=rank)
        for key, node in drawing.nodes.items():
            if node.rank == rank and node.cluster is None:
                level.add_node(pydot.Node(identifiers[key]))
        if level.get_nodes():
            graph.add_subgraph(level)
    for tail, head, kind in drawing.edges:
        colour, _, line = style.EDGES[kind]
        graph.add_edge(pydot.Edge(identifiers[tail], identifiers[head], color=colour, style=line))
    return str(graph.to_string())


def _empty(drawing: Drawing) -> pydot.Dot:
    many = len(drawing.nodes) > _MANY_NODES
    graph = pydot.Dot(
        "picture",
        graph_type="digraph",
        rankdir="TB",
        dpi=style.DPI,
        bgcolor="white",
        pad="0.3",
        nodesep="0.3",
        ranksep="0.36",
        fontname=style.FONT,
        label=drawing.title,
        labelloc="t",
        charset="UTF-8",
        **({"nslimit": "3", "nslimit1": "3", "mclimit": "0.4"} if many else {}),
    )
    graph.set_node_defaults(fontname=style.FONT, fontsize=style.NAME_POINTS, margin="0.15,0.08", height="0.3")
    graph.set_edge_defaults(arrowsize="0.7", penwidth="1.2")
    return graph


def _frames(drawing: Drawing, graph: pydot.Dot) -> dict[str | None, pydot.Graph]:
    """The frames, outer ones first so that each finds the one that it lies in."""
    frames: dict[str | None, pydot.Graph] = {}
    for number, (key, cluster) in enumerate(drawing.clusters.items()):
        frame = pydot.Cluster(
            f"c{number}",
            label=cluster.label,
            labeljust="l",
            style="rounded,filled",
            fillcolor=style.CLUSTER_FILL,
            color=style.CLUSTER_FAILED_BORDER if cluster.failed else style.CLUSTER_BORDER,
            margin="14",
        )
        frames[key] = frame
    for key, cluster in drawing.clusters.items():
        holder = frames.get(cluster.parent, graph)
        holder.add_subgraph(frames[key])  # type: ignore[arg-type] # pydot's own clusters are not its Subgraph
    return frames


def _node(identifier: str, node: Node) -> pydot.Node:
    look = style.NODES[node.kind]
    return pydot.Node(
        identifier,
        label=node.label,
        shape=look.shape,
        style=look.style,
        fillcolor=look.fill,
        color=look.border,
        fontcolor=look.ink,
        penwidth=str(look.width),
        peripheries="2" if node.many and look.shape == "box" else "1",
    )
