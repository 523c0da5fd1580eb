package io.rendezvous;

/** IEEE 754 binary16 in the low 16 bits of an int, which Java 17 cannot convert by itself. */
final class Half {
    private static final int EXPONENT_SHIFT = 13;
    private static final int FLOAT_SIGN = 0x8000_0000;
    private static final float SUBNORMAL_UNIT = 0x1.0p-24f;

    private Half() {}

    static float toFloat(int half) {
        int sign = (half & 0x8000) << 16;
        int exponent = half >> 10 & 0x1f;
        int fraction = half & 0x3ff;
        if (exponent == 0) {
            float magnitude = fraction * SUBNORMAL_UNIT;
            return sign == 0 ? magnitude : -magnitude;
        }
        int wide = exponent == 0x1f ? 0xff : exponent + 112;
        return Float.intBitsToFloat(sign | wide << 23 | fraction << EXPONENT_SHIFT);
    }

    /** Rounds to the nearest, ties to even; what is beyond 65519.99 becomes infinite. */
    static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        int sign = (bits & FLOAT_SIGN) >>> 16;
        int magnitude = bits & ~FLOAT_SIGN;
        if (magnitude > 0x7f80_0000) {
            int payload = magnitude >> EXPONENT_SHIFT & 0x3ff;
            return (short) (sign | 0x7c00 | (payload == 0 ? 0x200 : payload));
        }
        if (magnitude >= 0x477f_f000) {
            return (short) (sign | 0x7c00);
        }
        if (magnitude < 0x3880_0000) {
            // Below 2^-14: the sum's lowest bit is worth 2^-24, and float addition rounds as wanted.
            int rounded = Float.floatToRawIntBits(Float.intBitsToFloat(magnitude) + 0.5f);
            return (short) (sign | rounded - 0x3f00_0000);
        }
        int odd = magnitude >> EXPONENT_SHIFT & 1;
        return (short) (sign | magnitude - (112 << 23) + 0xfff + odd >> EXPONENT_SHIFT);
    }
}
