# @EXPECTED: TLE
# Compares every word with every other.
import sys

words = sys.stdin.read().split()
groups = []
while words:
    first = words[0]
    groups.append(sorted(word for word in words if sorted(word) == sorted(first)))
    words = [word for word in words if sorted(word) != sorted(first)]
for group in sorted(groups):
    print(*group)
