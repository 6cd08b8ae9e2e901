"""Why a Pod cannot carry the sidecar."""


class CannotInject(Exception):
    """The manifest is left as it was; each problem is one sentence for the person who wrote it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
