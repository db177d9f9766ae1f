"""What is added to the loss so that activations carry no label.

Owns: one penalty for each method, and its weight over time. Must never: know a host.

    penalty.py     the penalty of each method
    camouflage.py  decoy features, and a spring on the class means
    probe.py       P3EFT's: a logistic probe must not read the labels
    distance.py    the baseline DC: distance correlation
    schedules.py   the weight, step by step
"""
