"""What the operator is told when an action is refused."""


class Refused(Exception):
    """The action was refused and changed nothing; the message is what the operator is answered."""
