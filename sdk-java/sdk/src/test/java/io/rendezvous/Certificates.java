package io.rendezvous;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

/** An authority made for one test, and certificates of it, as PEM files. */
public final class Certificates {
    private static final String PASSWORD = "of-a-test";

    private final Path folder;
    private final Path store;

    /** Makes an authority in a new folder. */
    public Certificates() throws Exception {
        folder = Files.createTempDirectory("rendezvous-tls");
        store = folder.resolve("store.p12");
        make("ca", List.of("-ext", "bc:c", "-ext", "ku=keyCertSign"));
        writePem(ca(), "CERTIFICATE", store().getCertificate("ca").getEncoded());
    }

    /** The authority's certificate. */
    public Path ca() {
        return folder.resolve("ca.pem");
    }

    /** Makes a certificate for names such as {@code ip:127.0.0.1} and {@code dns:localhost}; again: another one. */
    public Pair issue(String alias, String names) throws Exception {
        make(alias, List.of("-signer", "ca", "-ext", "san=" + names));
        KeyStore made = store();
        Pair pair = new Pair(folder.resolve(alias + ".pem"), folder.resolve(alias + ".key"));
        Certificate[] chain = made.getCertificateChain(alias);
        writePem(pair.certificate(), "CERTIFICATE", chain[0].getEncoded());
        writePem(
                pair.key(),
                "PRIVATE KEY",
                made.getKey(alias, PASSWORD.toCharArray()).getEncoded());
        return pair;
    }

    /**
     * A certificate and its private key.
     *
     * @param certificate PEM
     * @param key PEM
     */
    public record Pair(Path certificate, Path key) {
        /** Puts the files of another pair in the place of these. */
        public void replaceBy(Pair other) throws IOException {
            Files.write(certificate, Files.readAllBytes(other.certificate));
            Files.write(key, Files.readAllBytes(other.key));
        }
    }

    private void make(String alias, List<String> extensions) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair",
                "-keystore",
                store.toString(),
                "-storepass",
                PASSWORD,
                "-alias",
                alias,
                "-dname",
                "CN=" + alias,
                "-keyalg",
                "EC",
                "-groupname",
                "secp256r1",
                "-validity",
                "1"));
        command.addAll(extensions);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes());
        if (process.waitFor() != 0) {
            throw new IOException("keytool: " + said);
        }
    }

    private KeyStore store() throws IOException, GeneralSecurityException {
        return KeyStore.getInstance(store.toFile(), PASSWORD.toCharArray());
    }

    private static void writePem(Path file, String kind, byte[] content) throws IOException {
        String lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
        Files.writeString(file, "-----BEGIN " + kind + "-----\n" + lines + "\n-----END " + kind + "-----\n");
    }
}
