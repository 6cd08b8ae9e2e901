"""The reasons why a Pod cannot have the sidecar."""


class CannotInject(Exception):
    """The manifest is unchanged; each problem is one sentence for its author."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
