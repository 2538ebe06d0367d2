// @EXPECTED: WA
// Cuts boards.
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    long n, k;
    std::cin >> n >> k;
    std::vector<long> boards(n);
    for (long& board : boards) std::cin >> board;
    long sum = 0;
    for (long board : boards) sum += board;
    std::cout << (sum + k - 1) / k << "\n";
}
