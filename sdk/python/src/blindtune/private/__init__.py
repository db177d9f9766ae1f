"""Everything that knows a label: the head, the mixing weights, the loss, and a gradient's disguise.

Owns: the private half of the model. Must never: know a host; client/ is not imported here, and does not import this.

    private_model.py    one step of the private half, from activations to gradients
    heads.py, tasks.py  what is learned, and from which labels
    metrics.py          how good guesses are; evaluation.py puts it together as a report
    mixing.py           the secret weights that mix the adapter sets
    training_labels.py  the labels of a run's rows in every form that training uses
    label_privacy.py    labels flipped so that privacy is proven (pslf.py: the baseline PSLF)
    secret.py           every random number of a run, out of its secret
    penalties/          what is added to the loss so that activations carry no label
    obfuscation/        a gradient as the tensors that travel
"""
