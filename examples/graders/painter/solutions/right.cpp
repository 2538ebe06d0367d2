// @EXPECTED: AC
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    long n, k;
    std::cin >> n >> k;
    std::vector<long> boards(n);
    for (long& board : boards) std::cin >> board;
    long low = *std::max_element(boards.begin(), boards.end()), high = 0;
    for (long board : boards) high += board;
    while (low < high) {
        long middle = (low + high) / 2, painters = 1, sum = 0;
        for (long board : boards) {
            if (sum + board > middle) painters++, sum = 0;
            sum += board;
        }
        if (painters <= k) high = middle; else low = middle + 1;
    }
    std::cout << low << "\n";
}
