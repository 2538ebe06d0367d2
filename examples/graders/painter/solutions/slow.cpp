// @EXPECTED: TLE
// Every last board of every painter.
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    long n, k;
    std::cin >> n >> k;
    std::vector<long> boards(n);
    for (long& board : boards) std::cin >> board;
    std::vector<long> prefix(n + 1, 0), best(n + 1, 1L << 60), next;
    for (long i = 0; i < n; i++) prefix[i + 1] = prefix[i] + boards[i];
    best[0] = 0;
    for (long p = 0; p < k; p++) {
        next = best;
        for (long i = 1; i <= n; i++)
            for (long j = 0; j < i; j++)
                next[i] = std::min(next[i], std::max(best[j], prefix[i] - prefix[j]));
        best = next;
    }
    std::cout << best[n] << "\n";
}
