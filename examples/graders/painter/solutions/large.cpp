// @EXPECTED: MLE
// A table for everything.
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    long n, k;
    std::cin >> n >> k;
    std::vector<long> boards(n);
    for (long& board : boards) std::cin >> board;
    std::vector<long> table(n * 4096L + (32L << 20), 1);
    std::cout << table[n] << "\n";
}
