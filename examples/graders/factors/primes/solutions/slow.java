// @EXPECTED: TLE
// Tries every divisor.
import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        long n = new Scanner(System.in).nextLong();
        int count = 0;
        for (int i = 2; i <= n; i++) {
            boolean isPrime = true;
            for (int d = 2; d < i; d++) {
                isPrime &= i % d != 0;
            }
            count += isPrime ? 1 : 0;
        }
        System.out.println(count);
    }
}
