import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.jetbrains.kotlin.cli.common.ExitCode;
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler;

/** Compiles several times in one process: each line of the input is a compiler's arguments. */
final class CompileKotlin {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            ExitCode code = new K2JVMCompiler().exec(System.err, line.split("\t"));
            if (code != ExitCode.OK) {
                System.exit(1);
            }
        }
    }
}
