"""What no schedule can beat: the lower bound that makespans are divided by. It ignores the size of the store."""

from replication_workloads import Workload


def lower_bound(work: Workload, bytes_per_second: float, delay_seconds: float) -> float:
    """The largest of: release times with the link alone, Jackson's tail bound, work over slots; in seconds.

    Args:
        work: what is to be done.
        bytes_per_second: the link, all connections together.
        delay_seconds: from asking for the first byte until it comes.
    """
    steps = {(step.run, step.key): step for step in work.steps}
    order = _sorted(work)
    heads: dict[tuple[str, str], float] = {}
    needs: dict[tuple[str, str], frozenset[str]] = {}
    for key in order:
        step = steps[key]
        before = [(step.run, one) for one in step.after]
        needed = frozenset(step.files).union(*(needs[one] for one in before))
        needs[key] = needed
        moved = sum(work.files[file] for file in needed) / bytes_per_second + (delay_seconds if needed else 0.0)
        heads[key] = max([moved, *(heads[one] + steps[one].seconds for one in before)])
    tails = dict.fromkeys(order, 0.0)
    for key in reversed(order):
        tails[key] += steps[key].seconds
        for one in steps[key].after:
            tails[key[0], one] = max(tails[key[0], one], tails[key])
    path = max(heads[key] + tails[key] for key in order)
    return max(path, _jackson(work, tails, bytes_per_second, delay_seconds), _work(work, heads))


def _jackson(work: Workload, tails: dict[tuple[str, str], float], rate: float, delay: float) -> float:
    """Files by longest tail: in whatever order they come, one comes no sooner than this, and its tail follows."""
    tail_of = dict.fromkeys(work.files, 0.0)
    for step in work.steps:
        for file in step.files:
            tail_of[file] = max(tail_of[file], tails[step.run, step.key])
    moved = 0
    bound = 0.0
    for file in sorted(work.files, key=lambda file: -tail_of[file]):
        moved += work.files[file]
        bound = max(bound, delay + moved / rate + tail_of[file])
    return bound


def _work(work: Workload, heads: dict[tuple[str, str], float]) -> float:
    seconds: dict[str, float] = {}
    soonest: dict[str, float] = {}
    for step in work.steps:
        seconds[step.run] = seconds.get(step.run, 0.0) + step.seconds
        soonest[step.run] = min(soonest.get(step.run, float("inf")), heads[step.run, step.key])
    return max(soonest[run] + total / work.slots for run, total in seconds.items())


def _sorted(work: Workload) -> list[tuple[str, str]]:
    """Steps after those that they wait for."""
    waits = {(step.run, step.key): len(step.after) for step in work.steps}
    follows: dict[tuple[str, str], list[tuple[str, str]]] = {key: [] for key in waits}
    for step in work.steps:
        for one in step.after:
            follows[step.run, one].append((step.run, step.key))
    order = [key for key, count in waits.items() if count == 0]
    for key in order:
        for follower in follows[key]:
            waits[follower] -= 1
            if waits[follower] == 0:
                order.append(follower)
    return order
