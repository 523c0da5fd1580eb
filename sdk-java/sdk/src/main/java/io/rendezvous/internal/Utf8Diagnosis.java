package io.rendezvous.internal;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.WireFormat;
import io.rendezvous.v1.Column;
import java.io.IOException;

/**
 * Finds the text that made protobuf refuse a message (P45): protobuf refuses the whole and does not say where, so the
 * bytes are walked again along the message's description. Meant for the rare message that cannot be parsed.
 */
final class Utf8Diagnosis {
    private static final int SHOWN_BYTES = 80;

    private Utf8Diagnosis() {}

    /** Returns where a serialized message has invalid UTF-8, for people; null if that is not what is wrong. */
    static Fault find(byte[] raw, Descriptor message) {
        try {
            return walk(CodedInputStream.newInstance(raw), message, "");
        } catch (IOException error) {
            return null; // not a message at all
        }
    }

    /**
     * What is wrong.
     *
     * @param column name of the column; empty where the text is not in a column
     * @param place column and element, or the field's path
     */
    record Fault(String column, String place) {}

    private static Fault walk(CodedInputStream input, Descriptor message, String path) throws IOException {
        String column = "";
        int element = 0;
        for (int tag = input.readTag(); tag != 0; tag = input.readTag()) {
            FieldDescriptor field = message.findFieldByNumber(WireFormat.getTagFieldNumber(tag));
            boolean delimited = WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_LENGTH_DELIMITED;
            if (field == null
                    || !delimited
                    || !isText(field) && field.getJavaType() != FieldDescriptor.JavaType.MESSAGE) {
                input.skipField(tag);
                continue;
            }
            ByteString bytes = input.readBytes();
            String here = path.isEmpty() ? field.getName() : path + "." + field.getName();
            if (!isText(field)) {
                Fault fault = walk(bytes.newCodedInput(), field.getMessageType(), here);
                if (fault != null) {
                    return fault;
                }
                continue;
            }
            if (!bytes.isValidUtf8()) {
                return fault(message, field, column, element, here, bytes);
            }
            column = field.getName().equals("name") ? bytes.toStringUtf8() : column;
            element += field.isRepeated() ? 1 : 0;
        }
        return null;
    }

    private static Fault fault(
            Descriptor message, FieldDescriptor field, String column, int element, String path, ByteString bytes) {
        if (!message.equals(Column.getDescriptor())) {
            return new Fault("", path);
        }
        if (field.isRepeated()) {
            String shown = Shown.value(column);
            return new Fault(shown, "column '" + shown + "': element " + element);
        }
        String shown = bytes.substring(0, Math.min(bytes.size(), SHOWN_BYTES)).toStringUtf8();
        return new Fault(shown, "column '" + shown + "': its name");
    }

    private static boolean isText(FieldDescriptor field) {
        return field.getType() == FieldDescriptor.Type.STRING;
    }
}
