"""Captum's interface (0.9) to what explains pictures, over ours: `attr`.

What differs, each a silent error of theirs, is told in ``docs/migration.md``: the model is in eval mode, tokens are
laid out as they lie in the picture, ReLUs count that are no modules, what cannot be interpolated is said, and what
comes back holds no graph.
"""

from wherefore.compat.captum import attr as attr
