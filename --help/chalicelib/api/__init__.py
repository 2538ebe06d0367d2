"""All entry points. The import of any of them sets the frequency of garbage collections."""

import gc

COLLECT_AFTER = 50_000
"""Number of new container objects that starts a collection. With CPython's default of 700 about 5 %
of a cold start is spent in collections, most of them while botocore reads its models, and they free
nothing."""

gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
