import io.rendezvous.Answer;
import io.rendezvous.Client;
import io.rendezvous.ColumnType;
import io.rendezvous.Frame;
import io.rendezvous.FrameBuilder;
import io.rendezvous.TableProgress;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** Asks for the rows of a file, unary, asynchronously, streamed, as a table, and prints the answers (tests/test_same_rows.py). */
public final class SameRows {
    private static final int PIECE = 64;

    public static void main(String[] arguments) throws IOException {
        List<String[]> lines = Files.readAllLines(Path.of(arguments[2])).stream()
                .map(line -> line.split("\t", -1))
                .toList();
        Frame frame = frameOf(lines);
        try (Client client = new Client(arguments[0], arguments[1])) {
            print("score", List.of(client.score(frame).frame()));
            print("async", List.of(client.scoreAsync(frame).join().frame()));
            List<Frame> answers = new ArrayList<>();
            List<Frame> pieces = new ArrayList<>();
            for (int start = 0; start < frame.rows(); start += PIECE) {
                pieces.add(frame.slice(start, Math.min(start + PIECE, frame.rows())));
            }
            client.stream(pieces).forEachRemaining((Answer answer) -> answers.add(answer.frame()));
            print("stream", answers);
            print("table", List.of(client.scoreTable(frame, PIECE, TableProgress.NONE).frame()));
        }
    }

    /** Returns the frame of a file: a line a column, with its name, type, elements in a row, and a cell a row. */
    private static Frame frameOf(List<String[]> lines) {
        FrameBuilder builder = Frame.builder();
        for (String[] line : lines) {
            int elements = Integer.parseInt(line[2]);
            int rows = line.length - 3;
            if (elements > 1) {
                addShaped(builder, line, elements, rows);
            } else {
                List<Object> values = new ArrayList<>();
                for (int row = 0; row < rows; row++) {
                    values.add(value(line[1], line[row + 3]));
                }
                builder.column(line[0], ColumnType.valueOf(line[1]), values);
            }
        }
        return builder.build();
    }

    private static void addShaped(FrameBuilder builder, String[] line, int elements, int rows) {
        double[] values = new double[elements * rows];
        boolean[] missing = new boolean[rows];
        for (int row = 0; row < rows; row++) {
            missing[row] = line[row + 3].equals("NA");
            for (int place = 0; place < elements && !missing[row]; place++) {
                values[row * elements + place] = Double.parseDouble(line[row + 3].split(",")[place]);
            }
        }
        builder.fp64(line[0], values).shape(elements).missing(missing);
    }

    private static Object value(String type, String cell) {
        if (cell.equals("NA")) {
            return null;
        }
        return switch (type) {
            case "BOOL" -> cell.equals("1");
            case "FP32", "FP64" -> Double.parseDouble(cell);
            case "STRING" -> new String(HexFormat.of().parseHex(cell), StandardCharsets.UTF_8);
            case "BYTES" -> HexFormat.of().parseHex(cell);
            default -> Long.parseLong(cell);
        };
    }

    private static void print(String way, List<Frame> frames) {
        for (Frame frame : frames) {
            for (int row = 0; row < frame.rows(); row++) {
                String echo = frame.string("echo").isMissing(row)
                        ? "NA"
                        : HexFormat.of().formatHex(frame.string("echo").get(row).getBytes(StandardCharsets.UTF_8));
                String back = frame.fp64("back").isMissing(row)
                        ? "NA"
                        : Double.toHexString(frame.fp64("back").get(row));
                String ratio = Double.toHexString(frame.fp64("ratio").get(row));
                System.out.println(String.join(
                        "\t", way, Long.toString(frame.int64("hash").get(row)), ratio, echo, back));
            }
        }
    }
}
