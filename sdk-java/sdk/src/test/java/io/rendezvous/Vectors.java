package io.rendezvous;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;

/** The conformance vectors of the contract: one test for each case. */
public final class Vectors {
    private Vectors() {}

    /** Returns a test for each case of a topic, or of one kind of it. */
    public static Stream<DynamicTest> tests(String topic, String kind, Consumer<JsonObject> test) {
        return load(topic).stream()
                .filter(item -> kind == null || item.get("kind").getAsString().equals(kind))
                .map(item -> DynamicTest.dynamicTest(name(item), () -> test.accept(item)));
    }

    /** Returns the cases of a topic. */
    public static List<JsonObject> load(String topic) {
        Path file = root().resolve("proto/vectors/" + topic + ".json");
        try {
            JsonObject all = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
            List<JsonObject> cases = new ArrayList<>();
            all.getAsJsonArray("cases").forEach(item -> cases.add(item.getAsJsonObject()));
            return cases;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Returns the folder of the repository. */
    public static Path root() {
        for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
            if (Files.isDirectory(folder.resolve("proto/vectors"))) {
                return folder;
            }
        }
        throw new IllegalStateException("the tests run inside of the repository: proto/vectors is not found");
    }

    /** Returns the bytes of hexadecimal text. */
    public static byte[] bytes(JsonElement hex) {
        return HexFormat.of().parseHex(hex.getAsString());
    }

    /** Returns the frame of hexadecimal text, not checked. */
    public static io.rendezvous.v1.Frame frame(JsonElement hex) {
        try {
            return io.rendezvous.v1.Frame.parseFrom(bytes(hex));
        } catch (InvalidProtocolBufferException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** Returns hexadecimal text of bytes. */
    public static String hex(ByteString bytes) {
        return HexFormat.of().formatHex(bytes.toByteArray());
    }

    /** Returns the elements of an array. */
    public static List<JsonElement> list(JsonElement array) {
        List<JsonElement> list = new ArrayList<>();
        ((JsonArray) array).forEach(list::add);
        return list;
    }

    private static String name(JsonObject item) {
        String name = item.get("name").getAsString();
        return new String(name.getBytes(StandardCharsets.US_ASCII), StandardCharsets.US_ASCII).replace('\n', ' ');
    }
}
