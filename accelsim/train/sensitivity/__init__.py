"""``accelsim sensitivity``: the largest bit error probability with which a training keeps its accuracy."""
