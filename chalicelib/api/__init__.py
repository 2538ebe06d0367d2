"""Every entry point. Whatever imports one first sets how often the garbage collector runs."""

import gc

COLLECT_AFTER = 50_000
"""So many new containers start a collection. With CPython's default of 700 some 5 % of a cold
start goes into collections, most of them while botocore reads its models, and they find nothing.
"""

gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
