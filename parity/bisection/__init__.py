"""Where a file leaves PyTorch: every op held against the node of the model that it computes.

``reference.py`` gives PyTorch's value of each node, one file a format the ops of an exported file,
``alignment.py`` which op computes which node, ``op_errors.py`` how wrong each op is, ``verdict.py``
which of them is a fault.
"""
