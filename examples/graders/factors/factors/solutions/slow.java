// @EXPECTED: TLE
// Goes on to the number itself.
import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        long n = new Scanner(System.in).nextLong();
        StringBuilder out = new StringBuilder();
        for (long d = 2; d <= n; d++) {
            while (n % d == 0) {
                out.append(d).append(' ');
                n /= d;
            }
        }
        if (n > 1) {
            out.append(n);
        }
        System.out.println(out);
    }
}
