import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Reads lines of two names, DER in hexadecimal; says of each pair: equal, different, or which is refused. */
class Names {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder said = new StringBuilder();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] pair = line.split(" ");
            X500Principal left = read(pair[0]);
            X500Principal right = read(pair[1]);
            said.append(left == null || right == null ? "refused" : left.equals(right) ? "equal" : "different");
            said.append('\n');
        }
        System.out.print(said);
    }

    private static X500Principal read(String hexadecimal) {
        try {
            return new X500Principal(HexFormat.of().parseHex(hexadecimal));
        } catch (IllegalArgumentException refused) {
            return null;
        }
    }
}
