"""Which steps can never have all their files in the store together: for a refusal before anything runs."""

from stemma.planning.known import guessed_bytes, room_bytes, size_of
from stemma.planning.situation import Situation, Unfit


def unfit_steps(situation: Situation) -> tuple[Unfit, ...]:
    """Steps that need more than the store's limit less what is never dropped, by run and step.

    Transfers of others end, and pins are released: they do not count.
    """
    room = room_bytes(situation.store)
    guess = guessed_bytes(situation.files)
    sizes = {file.key: size_of(file, guess) for file in situation.files}
    sizes |= {file.key: max(file.size_bytes, 0) for file in situation.store.files}
    unfit = []
    for step in situation.steps:
        needed = sum(sizes.get(key, 0) for key in set(step.files))
        if needed > room:
            unfit.append(Unfit(step.run, step.key, needed, int(room)))
    return tuple(sorted(unfit, key=lambda one: (one.run, one.step)))


def fits(situation: Situation) -> bool:
    """Whether every step can run one day."""
    return not unfit_steps(situation)
