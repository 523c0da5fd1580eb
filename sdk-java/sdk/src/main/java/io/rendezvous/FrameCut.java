package io.rendezvous;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.util.List;
import java.util.Map;

/** Joins frames of the same columns and cuts them apart again (P53). */
final class FrameCut {
    private FrameCut() {}

    static io.rendezvous.v1.Frame slice(io.rendezvous.v1.Frame frame, int start, int stop) {
        if (start < 0 || stop < start || stop > frame.getRows()) {
            throw new InvalidFrameException(
                    "rows " + start + " to " + stop + " were asked of a frame of " + frame.getRows() + " rows",
                    Map.of("start", start, "stop", stop, "rows", frame.getRows()));
        }
        io.rendezvous.v1.Frame.Builder cut = io.rendezvous.v1.Frame.newBuilder().setRows(stop - start);
        for (io.rendezvous.v1.Column column : frame.getColumnsList()) {
            cut.addColumns(sliceColumn(column, start, stop));
        }
        return cut.build();
    }

    private static io.rendezvous.v1.Column sliceColumn(io.rendezvous.v1.Column column, int start, int stop) {
        int elements = FrameCheck.elementsPerRow(column);
        int width = ColumnType.of(column.getTypeValue()).width();
        io.rendezvous.v1.Column.Builder cut = outline(column);
        int first = start * elements;
        int last = stop * elements;
        if (width > 0) {
            cut.setValues(column.getValues().substring(first * width, last * width));
        } else {
            if (column.getStringsCount() > 0) {
                cut.addAllStrings(column.getStringsList().subList(first, last));
            }
            if (column.getBlobsCount() > 0) {
                cut.addAllBlobs(column.getBlobsList().subList(first, last));
            }
        }
        return cut.setMissing(Bits.slice(column.getMissing(), start, stop)).build();
    }

    static io.rendezvous.v1.Frame join(List<io.rendezvous.v1.Frame> frames) {
        io.rendezvous.v1.Frame.Builder joined = io.rendezvous.v1.Frame.newBuilder();
        if (frames.isEmpty()) {
            return joined.build();
        }
        io.rendezvous.v1.Frame first = frames.get(0);
        long rows = 0;
        for (int index = 0; index < frames.size(); index++) {
            checkAlike(first, frames.get(index), index);
            rows += frames.get(index).getRows();
        }
        joined.setRows(rows);
        for (int column = 0; column < first.getColumnsCount(); column++) {
            joined.addColumns(joinColumn(frames, column, Math.toIntExact(rows)));
        }
        return joined.build();
    }

    private static io.rendezvous.v1.Column joinColumn(List<io.rendezvous.v1.Frame> frames, int index, int rows) {
        io.rendezvous.v1.Column first = frames.get(0).getColumns(index);
        io.rendezvous.v1.Column.Builder joined = outline(first);
        if (ColumnType.of(first.getTypeValue()).width() > 0) {
            joined.setValues(joinValues(frames, index));
        } else {
            for (io.rendezvous.v1.Frame frame : frames) {
                joined.addAllStrings(frame.getColumns(index).getStringsList());
                joined.addAllBlobs(frame.getColumns(index).getBlobsList());
            }
        }
        return joined.setMissing(joinMissing(frames, index, rows)).build();
    }

    /** One array, not a rope of many pieces: views read it in place. */
    private static ByteString joinValues(List<io.rendezvous.v1.Frame> frames, int index) {
        int size = 0;
        for (io.rendezvous.v1.Frame frame : frames) {
            size = Math.addExact(size, frame.getColumns(index).getValues().size());
        }
        byte[] values = new byte[size];
        int at = 0;
        for (io.rendezvous.v1.Frame frame : frames) {
            ByteString part = frame.getColumns(index).getValues();
            part.copyTo(values, at);
            at += part.size();
        }
        return UnsafeByteOperations.unsafeWrap(values);
    }

    private static ByteString joinMissing(List<io.rendezvous.v1.Frame> frames, int index, int rows) {
        byte[] bitmap = null;
        int at = 0;
        for (io.rendezvous.v1.Frame frame : frames) {
            ByteString part = frame.getColumns(index).getMissing();
            if (!part.isEmpty()) {
                bitmap = bitmap == null ? new byte[Bits.bytesFor(rows)] : bitmap;
                Bits.copy(part, 0, (int) frame.getRows(), bitmap, at);
            }
            at += (int) frame.getRows();
        }
        if (bitmap == null) {
            return ByteString.EMPTY;
        }
        ByteString joined = UnsafeByteOperations.unsafeWrap(bitmap);
        return Bits.first(joined) < 0 ? ByteString.EMPTY : joined;
    }

    private static io.rendezvous.v1.Column.Builder outline(io.rendezvous.v1.Column column) {
        io.rendezvous.v1.Column.Builder outline =
                io.rendezvous.v1.Column.newBuilder().setName(column.getName()).setTypeValue(column.getTypeValue());
        if (column.getShapeCount() > 0) {
            outline.addAllShape(column.getShapeList());
        }
        return outline;
    }

    private static void checkAlike(io.rendezvous.v1.Frame first, io.rendezvous.v1.Frame frame, int index) {
        int width = first.getColumnsCount();
        if (frame.getColumnsCount() != width) {
            throw new InvalidFrameException(
                    "frame " + index + " has " + frame.getColumnsCount() + " columns, the first has " + width
                            + ": only frames of the same columns can be joined",
                    Map.of("frame", index, "expected", width, "actual", frame.getColumnsCount()));
        }
        for (int column = 0; column < width; column++) {
            io.rendezvous.v1.Column expected = first.getColumns(column);
            io.rendezvous.v1.Column actual = frame.getColumns(column);
            if (!isAlike(expected, actual)) {
                throw refuse(expected, actual, index);
            }
        }
    }

    private static boolean isAlike(io.rendezvous.v1.Column left, io.rendezvous.v1.Column right) {
        return left.getTypeValue() == right.getTypeValue()
                && left.getName().equals(right.getName())
                && left.getShapeCount() == right.getShapeCount()
                && (left.getShapeCount() == 0 || left.getShapeList().equals(right.getShapeList()));
    }

    private static InvalidFrameException refuse(
            io.rendezvous.v1.Column first, io.rendezvous.v1.Column other, int index) {
        String shown = FrameCheck.shown(first.getName());
        String expected = described(first);
        String actual = described(other);
        return new InvalidFrameException(
                "column '" + shown + "': frame " + index + " has " + actual + " in its place, the first frame "
                        + expected + ": only frames of the same columns can be joined",
                Map.of("column", shown, "frame", index, "expected", expected, "actual", actual));
    }

    private static String described(io.rendezvous.v1.Column column) {
        return "'" + FrameCheck.shown(column.getName()) + "' " + FrameCheck.typeName(column.getTypeValue())
                + column.getShapeList();
    }
}
