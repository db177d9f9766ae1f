"""Pictures of one run: how it trained, what leaked, what an evaluation found. `result.plot()` and the like lead here.

Owns: everything that `.plot()` draws. Must never: measure; it draws values that others computed. It calls no
`plt.show` and changes no backend, so that it works in notebooks and scripts alike. matplotlib is the extra `plot`.
"""
