package io.rendezvous;

import io.rendezvous.v1.DataType;

/** Type of one column's elements: the Open Inference datatypes, and STRING. */
public enum ColumnType {
    /** One byte, 0 or 1. */
    BOOL(1, DataType.DATA_TYPE_BOOL),
    /** Unsigned, 1 byte. */
    UINT8(1, DataType.DATA_TYPE_UINT8),
    /** Unsigned, 2 bytes. */
    UINT16(2, DataType.DATA_TYPE_UINT16),
    /** Unsigned, 4 bytes. */
    UINT32(4, DataType.DATA_TYPE_UINT32),
    /** Unsigned, 8 bytes. */
    UINT64(8, DataType.DATA_TYPE_UINT64),
    /** Two's complement, 1 byte. */
    INT8(1, DataType.DATA_TYPE_INT8),
    /** Two's complement, 2 bytes. */
    INT16(2, DataType.DATA_TYPE_INT16),
    /** Two's complement, 4 bytes. */
    INT32(4, DataType.DATA_TYPE_INT32),
    /** Two's complement, 8 bytes. */
    INT64(8, DataType.DATA_TYPE_INT64),
    /** IEEE 754 binary16, 2 bytes. */
    FP16(2, DataType.DATA_TYPE_FP16),
    /** IEEE 754 binary32, 4 bytes. */
    FP32(4, DataType.DATA_TYPE_FP32),
    /** IEEE 754 binary64, 8 bytes. */
    FP64(8, DataType.DATA_TYPE_FP64),
    /** Opaque bytes of any length. */
    BYTES(0, DataType.DATA_TYPE_BYTES),
    /** Unicode text. */
    STRING(0, DataType.DATA_TYPE_STRING);

    private static final ColumnType[] BY_NUMBER = new ColumnType[values().length + 1];

    static {
        for (ColumnType type : values()) {
            BY_NUMBER[type.proto.getNumber()] = type;
        }
    }

    private final int width;
    private final DataType proto;

    ColumnType(int width, DataType proto) {
        this.width = width;
        this.proto = proto;
    }

    /**
     * Bytes of one element.
     *
     * @return 1, 2, 4 or 8; 0 for STRING and BYTES, whose elements have any length
     */
    public int width() {
        return width;
    }

    /**
     * Whether elements are floating-point numbers, which may be NaN or infinite.
     *
     * @return true for FP16, FP32 and FP64
     */
    public boolean isFloating() {
        return this == FP16 || this == FP32 || this == FP64;
    }

    /**
     * The type as it travels.
     *
     * @return value of the proto enum
     */
    public DataType toProto() {
        return proto;
    }

    /**
     * The type of a number on the wire.
     *
     * @param number value of the proto enum
     * @return its type; null for 0 and for what is not in the list
     */
    public static ColumnType of(int number) {
        return number > 0 && number < BY_NUMBER.length ? BY_NUMBER[number] : null;
    }
}
