"""How many threads torch computes with: the order of a sum, and with it the last bit, can depend on it."""


def thread_count() -> int:
    """Give the number of this process."""
    import torch

    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Set the number of this process."""
    import torch

    torch.set_num_threads(count)
