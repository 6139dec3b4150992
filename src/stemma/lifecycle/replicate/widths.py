"""Over how many streams what was planned is brought, said anew between two plans.

To read the situation of thousands of files takes its time, and in that time a link has come to be known: how many
streams it wants is found by trying.
"""

from collections.abc import Mapping

from stemma.lifecycle.moving.orders import LinkRates
from stemma.lifecycle.replicate.budgets import link_state
from stemma.planning.planner import HEAD_FILES
from stemma.planning.situation import Plan, Situation
from stemma.planning.streams import stream_count


class Widths:
    """The files that come next over each link, as they were planned last; of those whose size is known."""

    def __init__(self, most_streams: int) -> None:
        self._most_streams = most_streams
        self._sizes: dict[str, list[int]] = {}

    def planned(self, decided: Plan, situation: Situation) -> None:
        """This was decided."""
        files = {file.key: file for file in situation.files}
        self._sizes = {}
        for fetch in decided.order:
            file = files[fetch.key]
            if file.size_bytes is None:
                continue
            sizes = self._sizes.setdefault(fetch.remote, [])
            if len(sizes) < HEAD_FILES:
                sizes.append(max(file.size_bytes - file.arrived_bytes, 1))

    def by_now(self, rates: Mapping[str, LinkRates]) -> dict[str, int]:
        """How many streams each link wants, by what was seen of it since."""
        return {
            name: stream_count(link_state(name, rates.get(name), self._most_streams), sizes)
            for name, sizes in self._sizes.items()
        }
