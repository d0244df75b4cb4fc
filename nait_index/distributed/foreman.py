"""What workers get when they begin, and how often any began since one of them last finished a shard.

Ray begins a worker again whatever ended it, and for ever. One that is lost now and then costs nothing but time; but
where each of them ends, say because the model does not fit into memory, somebody must notice.
"""

from typing import Any

from nait_index.errors import NaitError

_TRIES = 5


class Foreman:
    """Serves the workers of one pool; goes to each of them, and stands for an actor on the builder's machine.

    :param workers: how many there are to be.
    :param kit: references to what each of them needs. Were they given to Ray as arguments of the workers' own, it
        could not begin a worker again once it had let go of them.
    """

    def __init__(self, workers: int, kit: tuple[Any, ...]) -> None:
        import ray

        self._most = workers * _TRIES
        self._actor: Any = ray.remote(num_cpus=0, resources=this_machine())(_Desk).remote(kit)

    def begin(self) -> tuple[Any, ...]:
        """Count a worker that begins, and give it what it needs.

        :raises NaitError: there were too many.
        """
        import ray

        begun, kit = ray.get(self._actor.begin.remote())
        if begun > self._most:
            raise NaitError(
                f"workers of the Ray cluster began {self._most} times and none finished a shard; if they run out of "
                "memory, lower --workers or --batch-tokens; the same command goes on where it was"
            )
        return tuple(None if own is None else ray.get(own) for own in kit)

    def finish(self) -> None:
        """Note a finished shard."""
        self._actor.finish.remote()


class _Desk:
    """Holds the references and the count."""

    def __init__(self, kit: tuple[Any, ...]) -> None:
        self._kit = kit
        self._begun = 0

    def begin(self) -> tuple[int, tuple[Any, ...]]:
        self._begun += 1
        return self._begun, self._kit

    def finish(self) -> None:
        self._begun = 0


def this_machine() -> dict[str, float]:
    """Ask for a place on the machine of the builder, by the resource that Ray gives each machine."""
    import ray

    return {f"node:{ray.util.get_node_ip_address()}": 0.001}
