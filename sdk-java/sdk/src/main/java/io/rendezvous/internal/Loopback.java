package io.rendezvous.internal;

import java.util.regex.Pattern;

/** Addresses of this machine, told by their text: a name that is looked up may lead anywhere. */
final class Loopback {
    private static final Pattern TEXT =
            Pattern.compile("(?i)localhost|127(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}|::1|0{1,4}(:0{1,4}){6}:0{0,3}1");

    private Loopback() {}

    /** Whether a host (IPv6 without brackets) is this machine. */
    static boolean contains(String host) {
        return TEXT.matcher(host).matches();
    }
}
