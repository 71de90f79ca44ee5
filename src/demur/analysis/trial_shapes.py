"""The shape of what trials of the measurement itself found."""

from demur.analysis.json_shape import Count, Name, Shape


class FindingShape(Shape):
    """What one trial of the measurement found."""

    name: Name
    count: Count
    of: Count


class BreachShape(Shape):
    """What one attack found behind a mask."""

    attack: Name
    count: Count


class MaskShape(Shape):
    """What stands against the usual attack, and what others find there."""

    eps: float
    norm: Name
    blank: Count
    stood: Count
    grey: Count
    exposed: Count
    breaches: list[BreachShape]
    of: Count


class TrialsShape(Shape):
    """`facts/trials.json`."""

    findings: list[FindingShape]
    forwards: Count
    backwards: Count
    trusted: bool = False
    mask: MaskShape | None = None
